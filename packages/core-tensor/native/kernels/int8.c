// x Wᵀ by LLM.int8() (arXiv 2208.07339): each row of x is rounded to bytes, products of bytes are added up as whole numbers, and
// columns of x with an outlier are multiplied as floats.
#include "quantized.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 16, MOST_COLUMNS = 32, MOST_ROWS = 14, COLUMNS_OF_A_TASK = 256, STEPS_AT_ONCE = 512 };
// The smallest number that a row is divided by: 2^-126.
#define SMALLEST_OF_ROW 1.1754943508222875e-38f

typedef struct {
  const IntegerTile *how;
  const QuantizedProduct *what;
  int64_t words, row_panels;
  uint32_t *packed;   // [row panel][word][row]
  float *unit;        // of a row of x: its largest / 127
  int32_t *sums;      // of a row of rounded x
  uint8_t *is_outlier;  // of a column of x
  int64_t *outliers, outlier_count;
  int *failed;
} Plan;

static void outlier_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  int64_t in = p->weight.in;
  for (int64_t row = index * ROWS_AT_ONCE; row < least((index + 1) * ROWS_AT_ONCE, p->rows); row++) {
    const float *x = p->x + row * in;
    if (plan->how->largest(x, in, 0) < p->threshold) continue;
    for (int64_t k = 0; k < in; k++)
      // Tasks write the same.
      if (fabsf(x[k]) >= p->threshold) __atomic_store_n(&plan->is_outlier[k], 1, __ATOMIC_RELAXED);
  }
}

static void round_task(void *data, size_t panel) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  int64_t in = p->weight.in, rows = plan->how->rows;
  uint32_t *to = plan->packed + panel * rows * plan->words;
  memset(to, 0, rows * plan->words * sizeof *to);
  for (int64_t i = 0; i < least(rows, p->rows - panel * rows); i++) {
    int64_t row = panel * rows + i;
    const float *x = p->x + row * in;
    float largest = plan->how->largest(x, in, p->threshold), factor = rounding_factor(largest, SMALLEST_OF_ROW);
    int32_t sum = 0;
    for (int64_t first = 0; first < in; first += STEPS_AT_ONCE) {
      int64_t count = least(STEPS_AT_ONCE, in - first);
      union {
        int8_t codes[STEPS_AT_ONCE];
        uint32_t words[STEPS_AT_ONCE / 4];
      } some;
      some.words[(count - 1) / 4] = 0;
      plan->how->round(x + first, count, factor, some.codes);
      if (plan->outlier_count)
        for (int64_t k = 0; k < count; k++) some.codes[k] = plan->is_outlier[first + k] ? 0 : some.codes[k];
      for (int64_t k = 0; k < count; k++) sum += some.codes[k];
      for (int64_t word = 0; word < (count + 3) / 4; word++) to[(first / 4 + word) * rows + i] = some.words[word];
    }
    plan->unit[row] = largest * (1.0f / 127);
    plan->sums[row] = sum;
  }
}

// What sums of whole numbers mean: y of `n` columns from `first` on in one row.
static void write_row(const Plan *plan, int64_t row, int64_t first, int64_t n, const int32_t *sums) {
  const QuantizedProduct *p = plan->what;
  const Weight *w = &p->weight;
  uint32_t shift = 128u * (uint32_t)plan->sums[row];
  float unit = plan->unit[row], *y = p->y + row * w->out + first;
  const float *scales = w->scales + first;
  for (int64_t j = 0; j < n; j++) y[j] = (float)(int32_t)((uint32_t)sums[j] - shift) * unit * (scales[j] * (1.0f / 127));
  if (!plan->outlier_count) return;
  float of_outliers[COLUMNS_OF_A_TASK] = {0};
  for (int64_t o = 0; o < plan->outlier_count; o++) {
    const uint8_t *codes = w->codes + plan->outliers[o] * w->out + first;
    float x = p->x[row * w->in + plan->outliers[o]];
    for (int64_t j = 0; j < n; j++) of_outliers[j] += x * (codes[j] - 128);
  }
  for (int64_t j = 0; j < n; j++) y[j] += of_outliers[j] * (scales[j] * (1.0f / 127));
}

static void one_row_task(void *data, size_t index) {
  const Plan *plan = data;
  const Weight *w = &plan->what->weight;
  int32_t sums[COLUMNS_OF_A_TASK];
  int64_t first = index * COLUMNS_OF_A_TASK, n = least(COLUMNS_OF_A_TASK, w->out - first);
  plan->how->one_row(plan->packed, w->codes + first, w->out, w->in, n, sums);
  write_row(plan, 0, first, n, sums);
}

static void tile_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  const Weight *w = &p->weight;
  int64_t width = plan->how->columns, rows = plan->how->rows, begin = index * COLUMNS_OF_A_TASK;
  int64_t columns = least(COLUMNS_OF_A_TASK, w->out - begin), panels = (columns + width - 1) / width;
  uint32_t *packed = malloc((panels * width * plan->words + 16) * sizeof *packed);
  if (!packed) {
    *plan->failed = 1;
    return;
  }
  plan->how->pack(w->codes + begin, w->out, w->in, columns, packed);
  int32_t sums[MOST_ROWS * MOST_COLUMNS];
  for (int64_t a = 0; a < plan->row_panels; a++)
    for (int64_t b = 0; b < panels; b++) {
      int64_t count = least(rows, p->rows - a * rows), first = begin + b * width, n = least(width, w->out - first);
      plan->how->tile(plan->packed + a * rows * plan->words, packed + b * width * plan->words, plan->words, count, sums);
      for (int64_t i = 0; i < count; i++) write_row(plan, a * rows + i, first, n, sums + i * width);
    }
  free(packed);
}

int multiply_int8(const Arithmetic *how, const QuantizedProduct *p, ParallelFor parallel, void *context) {
  const Weight *w = &p->weight;
  int failed = 0;
  Plan plan = {.how = integer_tile(how), .what = p, .failed = &failed};
  plan.words = (w->in + 3) / 4;
  plan.row_panels = (p->rows + plan.how->rows - 1) / plan.how->rows;
  size_t packed = plan.row_panels * plan.how->rows * plan.words;
  Scratch *scratch = take_scratch(4 * (packed + 2 * p->rows) + w->in * (sizeof(int64_t) + 1) + 64);
  if (!scratch) return 1;
  plan.outliers = scratch->memory;
  plan.packed = (uint32_t *)(plan.outliers + w->in);
  plan.unit = (float *)(plan.packed + packed);
  plan.sums = (int32_t *)(plan.unit + p->rows);
  plan.is_outlier = (uint8_t *)(plan.sums + p->rows);
  if (p->threshold > 0) {
    memset(plan.is_outlier, 0, w->in);
    parallel(context, outlier_task, (p->rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, &plan);
    for (int64_t k = 0; k < w->in; k++)
      if (plan.is_outlier[k]) plan.outliers[plan.outlier_count++] = k;
  }
  parallel(context, round_task, plan.row_panels, &plan);
  parallel(context, p->rows == 1 && plan.how->one_row ? one_row_task : tile_task,
           (w->out + COLUMNS_OF_A_TASK - 1) / COLUMNS_OF_A_TASK, &plan);
  give_back(scratch);
  return failed;
}

const IntegerTile *integer_tile(const Arithmetic *how) {
#ifdef POSTTRAIN_X86
  if (how == &avx2_arithmetic) return &avx2_integers;
  if (how != &plain_arithmetic) return processor_has_vnni() ? &vnni_integers : &avx2_integers;
#endif
  (void)how;
  return &plain_integers;
}
