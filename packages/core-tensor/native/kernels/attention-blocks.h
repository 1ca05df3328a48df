// What attention and its gradient share: which columns a row sees, and matrices as panels of tiles.
#ifndef POSTTRAIN_ATTENTION_BLOCKS_H
#define POSTTRAIN_ATTENTION_BLOCKS_H
#include "attention.h"

// Rows of a block: whole panels of about this many; and columns.
enum { ROWS_OF_A_BLOCK = 96, SLACK = 64 };

typedef struct {
  const Arithmetic *how;
  const Attention *what;
  const AttentionLoops *loops;
  int64_t rows_of_block, row_blocks;
} Blocks;

static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// The columns [first_seen, end_seen) that a row sees by its position; both grow with the row.
static inline int64_t first_seen(const Attention *what, int64_t row) { return what->window ? larger(0, row - what->window + 1) : 0; }
static inline int64_t end_seen(const Attention *what, int64_t row) {
  if (what->is_causal) return row + 1;
  return what->window ? least(what->length, row + what->window) : what->length;
}
// The rows [first_seeing, end_seeing) that see a column.
static inline int64_t first_seeing(const Attention *what, int64_t column) {
  if (what->is_causal) return column;
  return what->window ? larger(0, column - what->window + 1) : 0;
}
static inline int64_t end_seeing(const Attention *what, int64_t column) {
  return what->window ? least(what->length, column + what->window) : what->length;
}

Blocks blocks_of(const Arithmetic *how, const Attention *what);
// Columns of a block of at most so many: whole panels.
static inline int64_t whole_panels(const Arithmetic *how, int64_t most) { return most / how->columns * how->columns; }

// Words of a matrix whose `lines` are packed as panels of the right side, `steps` of each.
static inline size_t words_on_right(const Arithmetic *how, int64_t lines, int64_t steps) { return rounded_up(lines, how->columns) * steps; }
static inline size_t words_on_left(const Arithmetic *how, int64_t lines, int64_t steps) { return rounded_up(lines, how->rows) * steps; }

// Panels of a right side: panel i is at i * steps * columns.
void pack_right(const Arithmetic *how, Side side, int64_t lines, int64_t steps, uint32_t *to);
void pack_left(const Arithmetic *how, Side side, int64_t lines, int64_t steps, uint32_t *to);

// Scores of rows [row, row + rows) and columns [column, column + columns): to[i][stride]. Tiles that no row sees are left as they are.
void multiply_scores(const Blocks *blocks, const uint32_t *left, const uint32_t *right, int64_t steps, int64_t row, int64_t rows, int64_t column,
                     int64_t columns, float *to, int64_t stride);

// to[i][j] += left[steps][i] right[steps][j] for one panel of the left side: `right` begins at its first step, of `all_steps`.
void add_product(const Arithmetic *how, const uint32_t *left, int64_t lines, const uint32_t *right, int64_t steps, int64_t all_steps,
                 int64_t columns, float *to);

// Whether the segments of a row and a column differ: what is in scores[0 … count) then becomes `value`.
void mask_segments(const Attention *what, int64_t batch, int64_t row, int64_t column, int64_t count, float value, float *scores);
#endif
