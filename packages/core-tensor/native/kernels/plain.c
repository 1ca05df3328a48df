// Any processor: plain C, which compilers turn into the vectors that they know of.
#include "product.h"

enum { ROWS = 4, COLUMNS = 16 };

static void pack(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  float *to = panel;
  for (int64_t k = 0; k < steps; k++)
    for (int64_t i = 0; i < width; i++)
      to[k * width + i] = i < lines ? side->scale * side->data[i * side->line_stride + k * side->k_stride] : 0.0f;
}

static void tile(const TileWork *work) {
  const int64_t words = work->words, m = work->m, n = work->n;
  const float *src = work->src;
  float *dst = work->dst;
  const float *a = work->a_panel, *b = work->b_panel;
  float sums[ROWS][COLUMNS] = {{0}};
  for (int64_t k = 0; k < words; k++, a += ROWS, b += COLUMNS)
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < COLUMNS; j++) sums[i][j] += a[i] * b[j];
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++)
      dst[i * work->stride + j] = src ? src[i * work->stride + j] + sums[i][j] : sums[i][j];
}

const Arithmetic plain_arithmetic = {"plain", ROWS, COLUMNS, 1, 1, pack, pack, tile, 0};
