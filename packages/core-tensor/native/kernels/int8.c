// x Wᵀ by LLM.int8() (arXiv 2208.07339): each row of x is rounded to bytes, products of bytes are added up as whole numbers, and
// columns of x with an outlier are multiplied as floats.
#include "quantized.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 16, MOST_COLUMNS = 32, MOST_ROWS = 14, COLUMNS_OF_A_TASK = 256 };
// The smallest number that a row is divided by: 2^-126.
#define SMALLEST_OF_ROW 1.1754943508222875e-38f

typedef struct {
  const IntegerTile *how;
  const QuantizedProduct *what;
  long words, row_panels;
  uint32_t *packed;   // [row panel][word][row]
  float *unit;        // of a row of x: its largest / 127
  int32_t *sums;      // of a row of rounded x
  uint8_t *is_outlier;  // of a column of x
  long *outliers, outlier_count;
  int *failed;
} Plan;

static void outlier_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  for (long row = index * ROWS_AT_ONCE; row < least((index + 1) * ROWS_AT_ONCE, p->rows); row++)
    for (long k = 0; k < p->weight.in; k++)
      // Tasks write the same.
      if (fabsf(p->x[row * p->weight.in + k]) >= p->threshold) __atomic_store_n(&plan->is_outlier[k], 1, __ATOMIC_RELAXED);
}

static float largest_below(const float *x, long count, float threshold) {
  float largest = 0;
  for (long i = 0; i < count; i++) {
    float magnitude = fabsf(x[i]);
    if (magnitude >= threshold) continue;
    if (!(magnitude <= largest)) largest = magnitude;
    if (magnitude != magnitude) return magnitude;
  }
  return largest;
}

static void round_task(void *data, size_t panel) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  long in = p->weight.in, rows = plan->how->rows;
  for (long i = 0; i < rows; i++) {
    long row = panel * rows + i;
    uint32_t *to = plan->packed + panel * rows * plan->words + i;
    if (row >= p->rows) {
      for (long word = 0; word < plan->words; word++) to[word * rows] = 0;
      continue;
    }
    const float *x = p->x + row * in;
    float largest = p->threshold > 0 ? largest_below(x, in, p->threshold) : largest_of(x, in);
    float factor = rounding_factor(largest, SMALLEST_OF_ROW);
    int32_t sum = 0;
    for (long word = 0; word < plan->words; word++) {
      uint32_t bytes = 0;
      for (long j = 0; j < least(4, in - 4 * word); j++) {
        long k = 4 * word + j;
        if (plan->outlier_count && plan->is_outlier[k]) continue;
        int code = (int)rintf(within_byte(x[k] * factor));
        sum += code;
        bytes |= (uint32_t)(uint8_t)code << 8 * j;
      }
      to[word * rows] = bytes;
    }
    plan->unit[row] = largest * (1.0f / 127);
    plan->sums[row] = sum;
  }
}

// What sums of whole numbers mean: y of `n` columns from `first` on in one row.
static void write_row(const Plan *plan, long row, long first, long n, const int32_t *sums) {
  const QuantizedProduct *p = plan->what;
  const Weight *w = &p->weight;
  uint32_t shift = 128u * (uint32_t)plan->sums[row];
  float unit = plan->unit[row], *y = p->y + row * w->out + first;
  const float *scales = w->scales + first;
  for (long j = 0; j < n; j++) y[j] = (float)(int32_t)((uint32_t)sums[j] - shift) * unit * (scales[j] * (1.0f / 127));
  if (!plan->outlier_count) return;
  float of_outliers[COLUMNS_OF_A_TASK] = {0};
  for (long o = 0; o < plan->outlier_count; o++) {
    const uint8_t *codes = w->codes + plan->outliers[o] * w->out + first;
    float x = p->x[row * w->in + plan->outliers[o]];
    for (long j = 0; j < n; j++) of_outliers[j] += x * (codes[j] - 128);
  }
  for (long j = 0; j < n; j++) y[j] += of_outliers[j] * (scales[j] * (1.0f / 127));
}

static void one_row_task(void *data, size_t index) {
  const Plan *plan = data;
  const Weight *w = &plan->what->weight;
  int32_t sums[COLUMNS_OF_A_TASK];
  long first = index * COLUMNS_OF_A_TASK, n = least(COLUMNS_OF_A_TASK, w->out - first);
  plan->how->one_row(plan->packed, w->codes + first, w->out, w->in, n, sums);
  write_row(plan, 0, first, n, sums);
}

static void tile_task(void *data, size_t index) {
  const Plan *plan = data;
  const QuantizedProduct *p = plan->what;
  const Weight *w = &p->weight;
  long width = plan->how->columns, rows = plan->how->rows, begin = index * COLUMNS_OF_A_TASK;
  long columns = least(COLUMNS_OF_A_TASK, w->out - begin), panels = (columns + width - 1) / width;
  uint32_t *packed = malloc((panels * width * plan->words + 16) * sizeof *packed);
  if (!packed) {
    *plan->failed = 1;
    return;
  }
  plan->how->pack(w->codes + begin, w->out, w->in, columns, packed);
  int32_t sums[MOST_ROWS * MOST_COLUMNS];
  for (long a = 0; a < plan->row_panels; a++)
    for (long b = 0; b < panels; b++) {
      long count = least(rows, p->rows - a * rows), first = begin + b * width, n = least(width, w->out - first);
      plan->how->tile(plan->packed + a * rows * plan->words, packed + b * width * plan->words, plan->words, count, sums);
      for (long i = 0; i < count; i++) write_row(plan, a * rows + i, first, n, sums + i * width);
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
  Scratch *scratch = take_scratch(4 * (packed + 2 * p->rows) + w->in * (sizeof(long) + 1) + 64);
  if (!scratch) return 1;
  plan.outliers = scratch->memory;
  plan.packed = (uint32_t *)(plan.outliers + w->in);
  plan.unit = (float *)(plan.packed + packed);
  plan.sums = (int32_t *)(plan.unit + p->rows);
  plan.is_outlier = (uint8_t *)(plan.sums + p->rows);
  if (p->threshold > 0) {
    memset(plan.is_outlier, 0, w->in);
    parallel(context, outlier_task, (p->rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, &plan);
    for (long k = 0; k < w->in; k++)
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
