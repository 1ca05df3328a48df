// Attention in blocks: forward, and what its gradient shares with it.
#include "attention-blocks.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_OF_A_BLOCK = 256 };

static const AttentionLoops *loops_for(const Arithmetic *how) {
#ifdef POSTTRAIN_X86
  if (how == &avx512_arithmetic) return &attention_loops_avx512;
  if (how == &avx2_arithmetic) return &attention_loops_avx2;
#endif
  (void)how;
  return &attention_loops_plain;
}

Blocks blocks_of(const Arithmetic *how, const Attention *what) {
  Blocks blocks = {how, what, loops_for(how), 0, 0};
  blocks.rows_of_block = larger(1, ROWS_OF_A_BLOCK / how->rows) * how->rows;
  blocks.row_blocks = (what->length + blocks.rows_of_block - 1) / blocks.rows_of_block;
  return blocks;
}

void pack_right(const Arithmetic *how, Side side, int64_t lines, int64_t steps, uint32_t *to) {
  for (int64_t line = 0; line < lines; line += how->columns, to += how->columns * steps, side.data += how->columns * side.line_stride)
    how->pack_b(&side, least(how->columns, lines - line), how->columns, steps, to);
}

void pack_left(const Arithmetic *how, Side side, int64_t lines, int64_t steps, uint32_t *to) {
  for (int64_t line = 0; line < lines; line += how->rows, to += how->rows * steps, side.data += how->rows * side.line_stride)
    how->pack_a(&side, least(how->rows, lines - line), how->rows, steps, to);
}

void multiply_scores(const Blocks *blocks, const uint32_t *left, const uint32_t *right, int64_t steps, int64_t row, int64_t rows, int64_t column,
                     int64_t columns, float *to, int64_t stride) {
  const Arithmetic *how = blocks->how;
  TileWork work = {0};
  work.words = steps;
  work.stride = stride;
  for (int64_t j = 0; j < columns; j += how->columns) {
    work.b_panel = right + (column + j) * steps;
    work.n = least(how->columns, columns - j);
    for (int64_t i = 0; i < rows; i += how->rows) {
      work.m = least(how->rows, rows - i);
      int is_seen = first_seen(blocks->what, row + i) < column + j + work.n && end_seen(blocks->what, row + i + work.m - 1) > column + j;
      if (!is_seen) continue;
      work.a_panel = left + i * steps;
      work.dst = to + i * stride + j;
      work.soon[0] = work.a_panel;
      work.soon[1] = work.b_panel;
      how->tile(&work);
    }
  }
}

void add_product(const Arithmetic *how, const uint32_t *left, int64_t lines, const uint32_t *right, int64_t steps, int64_t all_steps,
                 int64_t columns, float *to) {
  TileWork work = {0};
  work.words = steps;
  work.stride = columns;
  work.a_panel = left;
  work.m = lines;
  work.soon[0] = work.a_panel;
  for (int64_t j = 0; j < columns; j += how->columns) {
    work.b_panel = right + j * all_steps;
    work.soon[1] = work.b_panel;
    work.n = least(how->columns, columns - j);
    work.src = work.dst = to + j;
    how->tile(&work);
  }
}

void mask_segments(const Attention *what, int64_t batch, int64_t row, int64_t column, int64_t count, float value, float *scores) {
  const int32_t *segments = what->segments + batch * what->length;
  for (int64_t j = 0; j < count; j++)
    if (segments[column + j] != segments[row]) scores[j] = value;
}

typedef struct {
  Blocks blocks;
  float *output, *log_sum;
  uint32_t *packed;  // of each key head: keys as lines, values as steps
  size_t words_of_keys, words_of_head;
  int failed;
} Plan;

static void pack_task(void *data, size_t head) {
  const Plan *plan = data;
  const Attention *what = plan->blocks.what;
  uint32_t *to = plan->packed + head * plan->words_of_head;
  Side keys = {what->k + head * what->length * what->width, what->width, 1, 1.0f};
  Side values = {what->v + head * what->length * what->value_width, 1, what->value_width, 1.0f};
  pack_right(plan->blocks.how, keys, what->length, what->width, to);
  pack_right(plan->blocks.how, values, what->value_width, what->length, to + plan->words_of_keys);
}

// What is no number is something.
static int sees_nothing(const float *scores, int64_t count) {
  for (int64_t j = 0; j < count; j++)
    if (scores[j] != -INFINITY) return 0;
  return 1;
}

// The scores of a row and some columns become e^(score - the largest so far); what was added up before is brought to the same scale.
static void soften_row(const Plan *plan, int64_t batch, int64_t row, int64_t column, int64_t first, int64_t count, float *scores, float *largest,
                       float *sum, float *output) {
  const Attention *what = plan->blocks.what;
  const AttentionLoops *loops = plan->blocks.loops;
  scores += first;
  if (what->segments) mask_segments(what, batch, row, column + first, count, -INFINITY, scores);
  const float most = loops->largest(scores, count, *largest);
  if (most == -INFINITY && sees_nothing(scores, count)) {
    memset(scores, 0, count * sizeof *scores);
    return;
  }
  float here = loops->exponentials(scores, count, most);
  // e^-inf is not quite 0 in those loops.
  if (what->segments) {
    mask_segments(what, batch, row, column + first, count, 0.0f, scores);
    here = 0;
    for (int64_t j = 0; j < count; j++) here += scores[j];
  }
  if (most != *largest) {
    const float shrink = *largest == -INFINITY ? 0.0f : expf(*largest - most);
    if (*sum != 0) loops->scale(output, what->value_width, shrink);
    *sum *= shrink;
  }
  *largest = most;
  *sum += here;
}

static void block_task(void *data, size_t index) {
  Plan *plan = data;
  const Blocks *blocks = &plan->blocks;
  const Attention *what = blocks->what;
  const Arithmetic *how = blocks->how;
  const int64_t d = what->width, dv = what->value_width, group = what->heads / what->key_heads;
  // The last rows see most: they begin.
  const int64_t head = (int64_t)index / blocks->row_blocks, row = (blocks->row_blocks - 1 - (int64_t)index % blocks->row_blocks) * blocks->rows_of_block;
  const int64_t batch = head / what->heads, rows = least(blocks->rows_of_block, what->length - row);
  const int64_t key_head = batch * what->key_heads + head % what->heads / group;
  const uint32_t *keys = plan->packed + key_head * plan->words_of_head, *values = keys + plan->words_of_keys;
  const size_t words_of_q = words_on_left(how, rows, d) + SLACK, words_of_panel = how->rows * COLUMNS_OF_A_BLOCK + SLACK;
  const size_t words_of_scores = (size_t)rows * COLUMNS_OF_A_BLOCK;
  Scratch *scratch = take_scratch(4 * (words_of_q + words_of_panel + words_of_scores + 2 * rows));
  if (!scratch) {
    plan->failed = 1;
    return;
  }
  uint32_t *q = scratch->memory, *panel = q + words_of_q;
  float *scores = (float *)(panel + words_of_panel), *largest = scores + words_of_scores, *sums = largest + rows;
  float *output = plan->output + (head * what->length + row) * dv;
  pack_left(how, (Side){what->q + (head * what->length + row) * d, d, 1, what->scale}, rows, d, q);
  memset(output, 0, rows * dv * sizeof *output);
  for (int64_t i = 0; i < rows; i++) {
    largest[i] = what->sinks ? what->sinks[head % what->heads] : -INFINITY;
    sums[i] = what->sinks ? 1 : 0;
  }
  const int64_t end = end_seen(what, row + rows - 1), at_once = whole_panels(how, COLUMNS_OF_A_BLOCK);
  for (int64_t column = first_seen(what, row) / how->columns * how->columns; column < end; column += at_once) {
    const int64_t columns = least(at_once, end - column);
    multiply_scores(blocks, q, keys, d, row, rows, column, columns, scores, COLUMNS_OF_A_BLOCK);
    for (int64_t i = 0; i < rows; i += how->rows) {
      const int64_t lines = least(how->rows, rows - i);
      const int64_t first = larger(0, first_seen(what, row + i) - column), last = least(columns, end_seen(what, row + i + lines - 1) - column);
      if (first >= last) continue;
      for (int64_t line = i; line < i + lines; line++) {
        float *of_row = scores + line * COLUMNS_OF_A_BLOCK;
        const int64_t from = least(last, larger(first, first_seen(what, row + line) - column));
        const int64_t to = larger(from, least(last, end_seen(what, row + line) - column));
        memset(of_row + first, 0, (from - first) * sizeof *of_row);
        memset(of_row + to, 0, (last - to) * sizeof *of_row);
        if (from < to)
          soften_row(plan, batch, row + line, column, from, to - from, of_row, &largest[line], &sums[line], output + line * dv);
      }
      how->pack_a(&(Side){scores + i * COLUMNS_OF_A_BLOCK + first, COLUMNS_OF_A_BLOCK, 1, 1.0f}, lines, how->rows, last - first, panel);
      add_product(how, panel, lines, values + (column + first) * how->columns, last - first, what->length, dv, output + i * dv);
    }
  }
  for (int64_t i = 0; i < rows; i++) {
    blocks->loops->scale(output + i * dv, dv, 1.0f / sums[i]);
    plan->log_sum[head * what->length + row + i] = largest[i] + logf(sums[i]);
  }
  give_back(scratch);
}

int attend(const Arithmetic *how, const Attention *what, float *output, float *log_sum, ParallelFor parallel, void *context) {
  Plan plan = {.blocks = blocks_of(how, what), .output = output, .log_sum = log_sum};
  const int64_t key_heads = what->batch * what->key_heads;
  plan.words_of_keys = words_on_right(how, what->length, what->width);
  plan.words_of_head = rounded_up(plan.words_of_keys + words_on_right(how, what->value_width, what->length), 16);
  Scratch *scratch = take_scratch(4 * (plan.words_of_head * key_heads + SLACK));
  if (!scratch) return 1;
  plan.packed = scratch->memory;
  parallel(context, pack_task, key_heads, &plan);
  parallel(context, block_task, what->batch * what->heads * plan.blocks.row_blocks, &plan);
  give_back(scratch);
  return plan.failed;
}
