// The gradient of attention in blocks. With D = Σ dO ∘ O - d(log-sum-exp) and P = e^(S - log-sum-exp):
// dV = Pᵀ dO, dS = P ∘ (dO Vᵀ - D), dQ = scale dS K, dK = scale dSᵀ Q.
#include "attention-blocks.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_OF_A_BLOCK = 128, TASKS_WANTED = 8, PIECES_OF_ROOM = 8 };

typedef struct {
  Blocks blocks;
  const AttentionGradient *gradient;
  // Of each key head: keys as lines and as steps, values as lines.
  uint32_t *packed;
  size_t words_of_lines, words_of_steps, words_of_head;
  // Each key head is `parts` tasks, which take its blocks of rows in turn; where there are several, each adds up dK and dV for itself.
  int64_t parts;
  float *sums;
  int failed;
} Plan;

static void pack_task(void *data, size_t head) {
  const Plan *plan = data;
  const Attention *what = plan->blocks.what;
  const Arithmetic *how = plan->blocks.how;
  const int64_t s = what->length, d = what->width, dv = what->value_width;
  uint32_t *to = plan->packed + head * plan->words_of_head;
  const float *k = what->k + head * s * d, *v = what->v + head * s * dv;
  pack_right(how, (Side){k, d, 1, 1.0f}, s, d, to);
  pack_right(how, (Side){k, 1, d, 1.0f}, d, s, to + plan->words_of_lines);
  pack_right(how, (Side){v, dv, 1, 1.0f}, s, dv, to + plan->words_of_lines + plan->words_of_steps);
}

// Work memory of a task: a block of rows of one head, packed for each product that it is in, and its scores.
typedef struct {
  uint32_t *left_q, *left_d, *right_q, *right_d, *panel;
  float *scores, *d_scores, *centre;
} Room;

// Where each piece begins in words; the last entry is all of them.
static void offsets_of_room(const Plan *plan, size_t offsets[PIECES_OF_ROOM + 1]) {
  const Attention *what = plan->blocks.what;
  const Arithmetic *how = plan->blocks.how;
  const int64_t rows = plan->blocks.rows_of_block, d = what->width, dv = what->value_width, block = rows * COLUMNS_OF_A_BLOCK;
  const size_t sizes[PIECES_OF_ROOM] = {words_on_left(how, rows, d),   words_on_left(how, rows, dv), words_on_right(how, d, rows),
                                        words_on_right(how, dv, rows), how->rows * larger(rows, COLUMNS_OF_A_BLOCK), block, block, rows};
  offsets[0] = 0;
  for (int i = 0; i < PIECES_OF_ROOM; i++) offsets[i + 1] = offsets[i] + rounded_up(sizes[i] + SLACK, 16);
}

static Room room_in(uint32_t *memory, const size_t offsets[PIECES_OF_ROOM + 1]) {
  uint32_t *at[PIECES_OF_ROOM];
  for (int i = 0; i < PIECES_OF_ROOM; i++) at[i] = memory + offsets[i];
  return (Room){at[0], at[1], at[2], at[3], at[4], (float *)at[5], (float *)at[6], (float *)at[7]};
}

// The scores of a row become P and dS in [0, columns), zeros where it sees nothing.
static void row_of_block(const Plan *plan, const Room *room, int64_t batch, int64_t row, int64_t line, int64_t column, int64_t columns,
                         float log_sum) {
  const Attention *what = plan->blocks.what;
  float *scores = room->scores + line * COLUMNS_OF_A_BLOCK, *d_scores = room->d_scores + line * COLUMNS_OF_A_BLOCK;
  const int64_t from = least(columns, larger(0, first_seen(what, row) - column));
  const int64_t to = larger(from, least(columns, end_seen(what, row) - column));
  plan->blocks.loops->gradient(scores + from, d_scores + from, to - from, log_sum, room->centre[line], what->scale);
  if (what->segments) {
    mask_segments(what, batch, row, column + from, to - from, 0.0f, scores + from);
    mask_segments(what, batch, row, column + from, to - from, 0.0f, d_scores + from);
  }
  memset(scores, 0, from * sizeof *scores);
  memset(d_scores, 0, from * sizeof *scores);
  memset(scores + to, 0, (columns - to) * sizeof *scores);
  memset(d_scores + to, 0, (columns - to) * sizeof *scores);
}

// dQ of a block of rows, and what it adds to dK and dV of its key head.
static void rows_of_head(const Plan *plan, const Room *room, int64_t head, int64_t row, float *d_k, float *d_v) {
  const Blocks *blocks = &plan->blocks;
  const Attention *what = blocks->what;
  const AttentionGradient *gradient = plan->gradient;
  const Arithmetic *how = blocks->how;
  const int64_t s = what->length, d = what->width, dv = what->value_width, batch = head / what->heads;
  const int64_t rows = least(blocks->rows_of_block, s - row), position = head * s + row;
  const int64_t key_head = batch * what->key_heads + head % what->heads / (what->heads / what->key_heads);
  const uint32_t *key_lines = plan->packed + key_head * plan->words_of_head, *key_steps = key_lines + plan->words_of_lines;
  const uint32_t *value_lines = key_steps + plan->words_of_steps;
  const float *q = what->q + position * d, *d_output = gradient->d_output + position * dv, *output = gradient->output + position * dv;
  float *d_q = gradient->d_q + position * d;
  pack_left(how, (Side){q, d, 1, what->scale}, rows, d, room->left_q);
  pack_left(how, (Side){d_output, dv, 1, 1.0f}, rows, dv, room->left_d);
  pack_right(how, (Side){q, 1, d, 1.0f}, d, rows, room->right_q);
  pack_right(how, (Side){d_output, 1, dv, 1.0f}, dv, rows, room->right_d);
  for (int64_t i = 0; i < rows; i++) {
    room->centre[i] = blocks->loops->dot(d_output + i * dv, output + i * dv, dv);
    if (gradient->d_log_sum) room->centre[i] -= gradient->d_log_sum[position + i];
  }
  memset(d_q, 0, rows * d * sizeof *d_q);
  const int64_t end = end_seen(what, row + rows - 1), at_once = whole_panels(how, COLUMNS_OF_A_BLOCK);
  for (int64_t column = first_seen(what, row) / how->columns * how->columns; column < end; column += at_once) {
    const int64_t columns = least(at_once, end - column);
    multiply_scores(blocks, room->left_q, key_lines, d, row, rows, column, columns, room->scores, COLUMNS_OF_A_BLOCK);
    multiply_scores(blocks, room->left_d, value_lines, dv, row, rows, column, columns, room->d_scores, COLUMNS_OF_A_BLOCK);
    for (int64_t i = 0; i < rows; i++) row_of_block(plan, room, batch, row + i, i, column, columns, gradient->log_sum[position + i]);
    for (int64_t i = 0; i < rows; i += how->rows) {
      const int64_t lines = least(how->rows, rows - i);
      const int64_t from = larger(0, first_seen(what, row + i) - column), to = least(columns, end_seen(what, row + i + lines - 1) - column);
      if (from >= to) continue;
      how->pack_a(&(Side){room->d_scores + i * COLUMNS_OF_A_BLOCK + from, COLUMNS_OF_A_BLOCK, 1, 1.0f}, lines, how->rows, to - from, room->panel);
      add_product(how, room->panel, lines, key_steps + (column + from) * how->columns, to - from, s, d, d_q + i * d);
    }
    for (int64_t j = 0; j < columns; j += how->rows) {
      const int64_t lines = least(how->rows, columns - j), first = column + j;
      const int64_t from = larger(0, first_seeing(what, first) - row), to = least(rows, end_seeing(what, first + lines - 1) - row);
      if (from >= to) continue;
      const int64_t at = from * COLUMNS_OF_A_BLOCK + j;
      how->pack_a(&(Side){room->scores + at, 1, COLUMNS_OF_A_BLOCK, 1.0f}, lines, how->rows, to - from, room->panel);
      add_product(how, room->panel, lines, room->right_d + from * how->columns, to - from, rows, dv, d_v + first * dv);
      how->pack_a(&(Side){room->d_scores + at, 1, COLUMNS_OF_A_BLOCK, 1.0f}, lines, how->rows, to - from, room->panel);
      add_product(how, room->panel, lines, room->right_q + from * how->columns, to - from, rows, d, d_k + first * d);
    }
  }
}

static void head_task(void *data, size_t index) {
  Plan *plan = data;
  const Attention *what = plan->blocks.what;
  const int64_t key_head = index / plan->parts, part = index % plan->parts, group = what->heads / what->key_heads;
  const int64_t d = what->width, dv = what->value_width, s = what->length;
  size_t offsets[PIECES_OF_ROOM + 1];
  offsets_of_room(plan, offsets);
  Scratch *scratch = take_scratch(4 * offsets[PIECES_OF_ROOM]);
  if (!scratch) {
    plan->failed = 1;
    return;
  }
  const Room room = room_in(scratch->memory, offsets);
  float *d_k = plan->sums ? plan->sums + index * s * (d + dv) : plan->gradient->d_k + key_head * s * d;
  float *d_v = plan->sums ? d_k + s * d : plan->gradient->d_v + key_head * s * dv;
  memset(d_k, 0, s * d * sizeof *d_k);
  memset(d_v, 0, s * dv * sizeof *d_v);
  const int64_t first_head = key_head / what->key_heads * what->heads + key_head % what->key_heads * group;
  for (int64_t i = part; i < group * plan->blocks.row_blocks; i += plan->parts)
    rows_of_head(plan, &room, first_head + i / plan->blocks.row_blocks, i % plan->blocks.row_blocks * plan->blocks.rows_of_block, d_k, d_v);
  give_back(scratch);
}

// The parts of a key head, added up in their order.
static void sum_task(void *data, size_t key_head) {
  const Plan *plan = data;
  const Attention *what = plan->blocks.what;
  const int64_t of_k = what->length * what->width, of_v = what->length * what->value_width;
  float *d_k = plan->gradient->d_k + key_head * of_k, *d_v = plan->gradient->d_v + key_head * of_v;
  for (int64_t part = 0; part < plan->parts; part++) {
    const float *from = plan->sums + (key_head * plan->parts + part) * (of_k + of_v);
    for (int64_t i = 0; i < of_k; i++) d_k[i] = part ? d_k[i] + from[i] : from[i];
    for (int64_t i = 0; i < of_v; i++) d_v[i] = part ? d_v[i] + from[of_k + i] : from[of_k + i];
  }
}

int attend_backward(const Arithmetic *how, const Attention *what, const AttentionGradient *gradient, ParallelFor parallel, void *context) {
  Plan plan = {.blocks = blocks_of(how, what), .gradient = gradient};
  const int64_t s = what->length, d = what->width, dv = what->value_width, key_heads = what->batch * what->key_heads;
  plan.words_of_lines = words_on_right(how, s, d);
  plan.words_of_steps = words_on_right(how, d, s);
  plan.words_of_head = rounded_up(plan.words_of_lines + plan.words_of_steps + words_on_right(how, s, dv), 16);
  // By shape alone, so that sums are the same with any number of threads.
  plan.parts = least((TASKS_WANTED + key_heads - 1) / key_heads, what->heads / what->key_heads * plan.blocks.row_blocks);
  const size_t packed = rounded_up(plan.words_of_head * key_heads + SLACK, 16);
  Scratch *scratch = take_scratch(4 * (packed + (plan.parts > 1 ? plan.parts * key_heads * s * (d + dv) : 0)));
  if (!scratch) return 1;
  plan.packed = scratch->memory;
  if (plan.parts > 1) plan.sums = (float *)(plan.packed + packed);
  parallel(context, pack_task, key_heads, &plan);
  parallel(context, head_task, key_heads * plan.parts, &plan);
  if (plan.parts > 1 && !plan.failed) parallel(context, sum_task, key_heads, &plan);
  give_back(scratch);
  return plan.failed;
}
