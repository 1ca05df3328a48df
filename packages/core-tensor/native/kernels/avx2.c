// x86 with AVX2 and FMA.
#include "product.h"
#ifdef POSTTRAIN_X86
#include <immintrin.h>
#define AVX2 TARGET("avx2,fma")

enum { ROWS = 6, COLUMNS = 16 };

AVX2 static void pack(const Side *side, long lines, long width, long steps, void *panel) {
  float *to = panel;
  const float *from = side->data;
  if (side->line_stride == 1 && lines == width && width % 8 == 0) {
    __m256 scale = _mm256_set1_ps(side->scale);
    for (long k = 0; k < steps; k++)
      for (long i = 0; i < width; i += 8)
        _mm256_storeu_ps(to + k * width + i, _mm256_mul_ps(scale, _mm256_loadu_ps(from + k * side->k_stride + i)));
    return;
  }
  // Line by line: a line's steps are neighbours in memory, or its lines are and all fit the cache.
  for (long i = 0; i < width; i++)
    for (long k = 0; k < steps; k++)
      to[k * width + i] = i < lines ? side->scale * from[i * side->line_stride + k * side->k_stride] : 0.0f;
}

AVX2 static void tile(const TileWork *work) {
  const long words = work->words, m = work->m, n = work->n;
  const float *src = work->src;
  float *dst = work->dst;
  const float *a = work->a_panel, *b = work->b_panel;
  __m256 sums[ROWS][2];
  for (int i = 0; i < ROWS; i++) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
  for (long k = 0; k < words; k++, a += ROWS, b += COLUMNS) {
    __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; i++) {
      __m256 x = _mm256_broadcast_ss(a + i);
      sums[i][0] = _mm256_fmadd_ps(x, b0, sums[i][0]);
      sums[i][1] = _mm256_fmadd_ps(x, b1, sums[i][1]);
    }
  }
  float whole[ROWS][COLUMNS];
  for (int i = 0; i < ROWS; i++) {
    _mm256_storeu_ps(whole[i], sums[i][0]);
    _mm256_storeu_ps(whole[i] + 8, sums[i][1]);
  }
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++)
      dst[i * work->stride + j] = src ? src[i * work->stride + j] + whole[i][j] : whole[i][j];
}

const Arithmetic avx2_arithmetic = {"avx2", ROWS, COLUMNS, 1, 1, pack, pack, tile};
#endif
