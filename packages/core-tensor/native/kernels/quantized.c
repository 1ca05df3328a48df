// How products with quantised weights are cut in tasks, the same for every processor.
#include "quantized.h"
#include <stdlib.h>
#include <string.h>

// Up to this many rows, W is unpacked in registers for every few of them; from there on a panel at a time, once. Bytes are
// multiplied four at a time, for which it pays always.
enum { MOST_FEW_ROWS = 8 };
// Of a product that is one task: fewer do not pay for a thread.
static const double SMALL_PRODUCT = 1 << 17;
enum { STEPS_OF_A_BLOCK = 1024, PANELS_OF_A_TASK = 4, ROW_PANELS_AT_ONCE = 8, ROWS_AT_ONCE = 16, ROUNDED_AT_ONCE = 256 };

const float four_bit_levels[FORMATS][16] = {
    [INT4] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    [NF4] = {-1, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
             -0.18477343022823334f, -0.09105003625154495f, 0, 0.07958029955625534f, 0.16093020141124725f,
             0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
             0.7229568362236023f, 1},
    [FP4] = {0, 0.0625f / 12, 8.0f / 12, 12.0f / 12, 4.0f / 12, 6.0f / 12, 2.0f / 12, 3.0f / 12, 0, -0.0625f / 12,
             -8.0f / 12, -12.0f / 12, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12},
};

typedef struct {
  const Arithmetic *how;
  const QuantizedPath *path;
  const QuantizedProduct *what;
  const float *x;  // rounded where that is asked for
  char *arranged;
  size_t row_bytes;
  int64_t rows_of_a_task, panels_of_a_task;
  // Panels: y = x times a matrix of `steps` by `lines`.
  int64_t steps, lines, row_panels, block_words;
  uint32_t *packed;
  int *failed;
} Plan;

// Rounds each block of a row of x to multiples of its largest / 127.
static void round_row(const Plan *plan, const float *x, float *to) {
  const Weight *w = &plan->what->weight;
  const IntegerTile *integers = integer_tile(plan->how);
  int8_t codes[ROUNDED_AT_ONCE];
  for (int64_t first = 0; first < w->in; first += w->block) {
    int64_t count = least(w->block, w->in - first);
    float largest = integers->largest(x + first, count, 0), factor = rounding_factor(largest, SMALLEST_OF_BLOCK);
    float unit = largest * (1.0f / 127);
    for (int64_t i = first; i < first + count; i += ROUNDED_AT_ONCE) {
      int64_t some = least(ROUNDED_AT_ONCE, first + count - i);
      integers->round(x + i, some, factor, codes);
      for (int64_t j = 0; j < some; j++) to[i + j] = codes[j] * unit;
    }
  }
}

static void round_task(void *data, size_t index) {
  const Plan *plan = data;
  const Weight *w = &plan->what->weight;
  for (int64_t row = index * ROWS_AT_ONCE; row < least((index + 1) * ROWS_AT_ONCE, plan->what->rows); row++)
    round_row(plan, plan->what->x + row * w->in, (float *)plan->x + row * w->in);
}

// Rows of W that are unpacked one by one.
static void dot_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  const Weight *w = &p->weight;
  float *row = malloc(w->in * sizeof *row);
  if (!row) {
    *plan->failed = 1;
    return;
  }
  for (int64_t n = index * plan->rows_of_a_task; n < least((index + 1) * plan->rows_of_a_task, w->out); n++) {
    plan->path->unpack(w, n, 0, w->in, row);
    for (int64_t m = 0; m < p->rows; m++) p->y[m * w->out + n] = plan->path->dot(plan->x + m * w->in, row, w->in);
  }
  free(row);
}

static void arrange_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  for (int64_t m = index * ROWS_AT_ONCE; m < least((index + 1) * ROWS_AT_ONCE, p->rows); m++)
    plan->path->arrange(&p->weight, p->rounds, p->x + m * p->weight.in, plan->arranged + m * plan->row_bytes);
}

static void few_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  int64_t begin = index * plan->rows_of_a_task, end = least(begin + plan->rows_of_a_task, p->weight.out);
  plan->path->few(&p->weight, p->rounds, plan->arranged, p->rows, begin, end, p->y, p->weight.out);
}

static void pack_rows_task(void *data, size_t index) {
  const Plan *plan = data;
  const Arithmetic *how = plan->how;
  int64_t row = index * how->rows, lines = least(how->rows, plan->what->rows - row);
  for (int64_t first = 0, offset = 0; first < plan->steps; first += STEPS_OF_A_BLOCK) {
    int64_t steps = least(STEPS_OF_A_BLOCK, plan->steps - first);
    int64_t words = rounded_up((steps + how->steps_per_word - 1) / how->steps_per_word, how->word_multiple);
    Side side = {plan->x + row * plan->steps + first, plan->steps, 1, 1.0f};
    how->pack_a(&side, lines, how->rows, steps, plan->packed + (offset * plan->row_panels + index * words) * how->rows);
    offset += words;
  }
}

// Some panels of columns of y: unpacked block by block of what is summed over, and multiplied with all rows.
static void panel_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  const Arithmetic *how = plan->how;
  // Rows of memory are lines of the matrix but in x W of 4 bits.
  int memory_is_lines = !(p->is_transposed && p->weight.format != INT8);
  int64_t width = how->columns, first_line = index * plan->panels_of_a_task * width;
  int64_t lines = least(plan->panels_of_a_task * width, plan->lines - first_line);
  int64_t panels = (lines + width - 1) / width, longest = least(plan->steps, STEPS_OF_A_BLOCK);
  size_t room = memory_is_lines ? width * longest : longest * rounded_up(lines, 16);
  size_t words_of_panel = plan->block_words * width;
  float *unpacked = malloc((room + words_of_panel * panels + 64) * sizeof *unpacked);
  if (!unpacked) {
    *plan->failed = 1;
    return;
  }
  uint32_t *packed = (uint32_t *)unpacked + room;
  for (int64_t first = 0, offset = 0; first < plan->steps; first += STEPS_OF_A_BLOCK) {
    int64_t steps = least(STEPS_OF_A_BLOCK, plan->steps - first);
    int64_t words = rounded_up((steps + how->steps_per_word - 1) / how->steps_per_word, how->word_multiple);
    if (!memory_is_lines)
      for (int64_t step = 0; step < steps; step++)
        plan->path->unpack(&p->weight, first + step, first_line, lines, unpacked + step * lines);
    int at_once = memory_is_lines && how->columns == plan->path->panel_columns && how->steps_per_word == 1;
    for (int64_t b = 0; b < panels; b++) {
      int64_t here = least(width, lines - b * width);
      if (at_once) {
        plan->path->panel(&p->weight, first_line + b * width, here, first, steps, (float *)packed + b * words_of_panel);
        continue;
      }
      Side side = {unpacked + b * width, 1, lines, 1.0f};
      if (memory_is_lines) {
        for (int64_t line = 0; line < here; line++)
          plan->path->unpack(&p->weight, first_line + b * width + line, first, steps, unpacked + line * steps);
        side = (Side){unpacked, steps, 1, 1.0f};
      }
      how->pack_b(&side, here, width, steps, packed + b * words_of_panel);
    }
    for (int64_t a0 = 0; a0 < plan->row_panels; a0 += ROW_PANELS_AT_ONCE)
      for (int64_t b = 0; b < panels; b++)
        for (int64_t a = a0; a < least(a0 + ROW_PANELS_AT_ONCE, plan->row_panels); a++) {
          int64_t row = a * how->rows, line = first_line + b * width;
          TileWork work = {0};
          work.words = words;
          work.a_panel = plan->packed + (offset * plan->row_panels + a * words) * how->rows;
          work.b_panel = packed + b * words_of_panel;
          work.dst = p->y + row * plan->lines + line;
          work.src = first > 0 ? work.dst : 0;
          work.stride = plan->lines;
          work.m = least(how->rows, p->rows - row);
          work.n = least(width, plan->lines - line);
          work.soon[0] = (const char *)work.a_panel + words * how->rows * sizeof(uint32_t);
          work.soon[1] = work.a_panel;
          how->tile(&work);
        }
    offset += words;
  }
  free(unpacked);
}

// Tasks of at least so many multiplications, and as many of them as may be.
static int64_t of_a_task(double work_of_one, int64_t count, int64_t most) {
  int64_t smallest = (int64_t)(SMALL_PRODUCT / 4 / work_of_one) + 1;
  int64_t even = (count + most - 1) / most;
  return least(count, smallest > even ? smallest : even);
}

static int multiply_few(Plan *plan, ParallelFor parallel, void *context) {
  const QuantizedProduct *p = plan->what;
  const Weight *w = &p->weight;
  double work = (double)p->rows * w->in;
  plan->rows_of_a_task = work * w->out <= SMALL_PRODUCT ? w->out : of_a_task(work, w->out, 32);
  size_t tasks = (w->out + plan->rows_of_a_task - 1) / plan->rows_of_a_task;
  if (!plan->path->has_few(w, p->rounds)) {
    parallel(context, dot_task, tasks, plan);
    return *plan->failed;
  }
  plan->row_bytes = plan->path->arranged_bytes(w, p->rounds);
  Scratch *scratch = take_scratch(plan->row_bytes * p->rows);
  if (!scratch) return 1;
  plan->arranged = scratch->memory;
  parallel(context, arrange_task, (p->rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, plan);
  parallel(context, few_task, tasks, plan);
  give_back(scratch);
  return 0;
}

static int multiply_panels(Plan *plan, ParallelFor parallel, void *context) {
  const Arithmetic *how = plan->how;
  const QuantizedProduct *p = plan->what;
  plan->steps = p->is_transposed ? p->weight.out : p->weight.in;
  plan->lines = p->is_transposed ? p->weight.in : p->weight.out;
  plan->row_panels = (p->rows + how->rows - 1) / how->rows;
  int64_t blocks = (plan->steps + STEPS_OF_A_BLOCK - 1) / STEPS_OF_A_BLOCK;
  plan->block_words = rounded_up(STEPS_OF_A_BLOCK / how->steps_per_word, how->word_multiple);
  int64_t panels = (plan->lines + how->columns - 1) / how->columns;
  plan->panels_of_a_task = least(PANELS_OF_A_TASK, panels / 8 > 0 ? panels / 8 : 1);
  size_t words = blocks * plan->block_words;
  Scratch *scratch = take_scratch(4 * (plan->row_panels * how->rows * words + 64));
  if (!scratch) return 1;
  plan->packed = scratch->memory;
  parallel(context, pack_rows_task, plan->row_panels, plan);
  parallel(context, panel_task, (panels + plan->panels_of_a_task - 1) / plan->panels_of_a_task, plan);
  give_back(scratch);
  return *plan->failed;
}

int multiply_quantized(const Arithmetic *how, const QuantizedProduct *p, ParallelFor parallel, void *context) {
  if (p->weight.format == INT8 && !p->is_transposed) return multiply_int8(how, p, parallel, context);
  int failed = 0;
  Plan plan = {.how = how, .path = quantized_path(how), .what = p, .x = p->x, .failed = &failed};
  int has_bytes = p->rounds && plan.path->has_few(&p->weight, 1);
  int is_few = !p->is_transposed && (has_bytes || p->rows <= MOST_FEW_ROWS);
  int rounds_here = p->rounds && !p->is_transposed && !has_bytes;
  Scratch *rounded = 0;
  if (rounds_here) {
    rounded = take_scratch(p->rows * p->weight.in * sizeof(float));
    if (!rounded) return 1;
    plan.x = rounded->memory;
    parallel(context, round_task, (p->rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, &plan);
  }
  int result = is_few ? multiply_few(&plan, parallel, context) : multiply_panels(&plan, parallel, context);
  if (rounded) give_back(rounded);
  return result;
}

typedef struct {
  const QuantizedPath *path;
  const Weight *weight;
  float *to;
  int64_t rows, width;
} Unpacking;

static void unpack_task(void *data, size_t index) {
  const Unpacking *u = data;
  for (int64_t row = index * ROWS_AT_ONCE; row < least((index + 1) * ROWS_AT_ONCE, u->rows); row++)
    u->path->unpack(u->weight, row, 0, u->width, u->to + row * u->width);
}

void unpack_quantized(const Arithmetic *how, const Weight *w, float *to, ParallelFor parallel, void *context) {
  int is_int8 = w->format == INT8;
  Unpacking u = {quantized_path(how), w, to, is_int8 ? w->in : w->out, is_int8 ? w->out : w->in};
  parallel(context, unpack_task, (u.rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, &u);
}

const QuantizedPath *quantized_path(const Arithmetic *how) {
#ifdef POSTTRAIN_X86
  if (how == &avx2_arithmetic) return &avx2_quantized;
  if (how != &plain_arithmetic) return &avx512_quantized;
#endif
  (void)how;
  return &plain_quantized;
}
