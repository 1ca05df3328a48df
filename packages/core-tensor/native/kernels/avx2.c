// x86 with AVX2 and FMA.
#include "avx2.h"
#ifdef POSTTRAIN_X86

// Register blocking: 6 x 2 sums, two vectors of b and one of a are 15 of the 16 registers.
enum { ROWS = 6, COLUMNS = 16 };

// The first `width` (6 or 8) lanes; masked stores are slow on AMD.
INLINE void store_lanes(float *to, __m256 x, int64_t width) {
  if (width >= 8) {
    _mm256_storeu_ps(to, x);
    return;
  }
  _mm_storeu_ps(to, _mm256_castps256_ps128(x));
  _mm_storel_pi((__m64 *)(to + 4), _mm256_extractf128_ps(x, 1));
}

// Lines [first, first + 8) of a panel that is `width` wide (6 or a multiple of 8).
INLINE void pack_eight(const Side *side, int64_t lines, int64_t first, const int64_t width, int64_t steps, float *panel) {
  const __m256 scale = _mm256_set1_ps(side->scale);
  const float *from = side->data + first * side->line_stride;
  const int64_t count = lines - first < 8 ? lines - first : 8;
  if (side->line_stride == 1) {
    const __m256i some = first_lanes(count);
    for (int64_t k = 0; k < steps; k++, from += side->k_stride)
      store_lanes(panel + k * width + first, _mm256_mul_ps(scale, count == 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, some)), width);
    return;
  }
  for (int64_t k = 0; k < steps; k += 8) {
    const __m256i some = first_lanes(steps - k);
    __m256 r[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      if (i >= count) r[i] = _mm256_setzero_ps();
      else if (k + 8 <= steps) r[i] = _mm256_mul_ps(scale, _mm256_loadu_ps(from + i * side->line_stride + k));
      else r[i] = _mm256_mul_ps(scale, _mm256_maskload_ps(from + i * side->line_stride + k, some));
    }
    transpose_words(r);
    if (k + 8 <= steps) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < 8; i++) store_lanes(panel + (k + i) * width + first, r[i], width);
    } else
      for (int64_t i = 0; i < steps - k; i++) store_lanes(panel + (k + i) * width + first, r[i], width);
  }
}

AVX2 static void pack_a(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  (void)width;
  pack_eight(side, lines, 0, ROWS, steps, panel);
}

AVX2 static void pack_b(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  (void)width;
  pack_eight(side, lines, 0, COLUMNS, steps, panel);
  pack_eight(side, lines, 8, COLUMNS, steps, panel);
}

// `rows` and `vectors` (of columns) are known where this is compiled: as many sums as there are rows and columns.
INLINE void sums_of_tile(const int rows, const int vectors, const TileWork *work) {
  const float *a = work->a_panel, *b = work->b_panel;
  const char *soon = work->soon[0], *also_soon = work->soon[1];
  __m256 sums[ROWS][2];
#pragma GCC unroll 6
  for (int i = 0; i < ROWS; i++) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
  for (int64_t i = 0; i < work->m; i++) __builtin_prefetch(work->dst + i * work->stride, 1);
  for (int64_t k = 0; k < work->words; k++) {
    __m256 b0 = _mm256_loadu_ps(b), b1 = vectors > 1 ? _mm256_loadu_ps(b + 8) : b0;
    _mm_prefetch((const char *)(b + 8 * COLUMNS), _MM_HINT_T0);
    (void)soon;
    (void)also_soon;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
      __m256 x = _mm256_broadcast_ss(a + i);
      sums[i][0] = _mm256_fmadd_ps(x, b0, sums[i][0]);
      if (vectors > 1) sums[i][1] = _mm256_fmadd_ps(x, b1, sums[i][1]);
    }
    a += ROWS;
    b += COLUMNS;
  }
  const float *src = work->src;
  float *dst = work->dst;
  const int is_whole = work->n == 8 * vectors;
  const __m256i left = first_lanes(work->n), right = first_lanes(work->n - 8);
#pragma GCC unroll 6
  for (int i = 0; i < rows; i++) {
    if (i >= work->m) break;
    const float *before = src ? src + i * work->stride : 0;
    float *to = dst + i * work->stride;
    __m256 x = sums[i][0], y = sums[i][1];
    if (is_whole) {
      if (src) x = _mm256_add_ps(x, _mm256_loadu_ps(before));
      _mm256_storeu_ps(to, x);
      if (vectors == 1) continue;
      if (src) y = _mm256_add_ps(y, _mm256_loadu_ps(before + 8));
      _mm256_storeu_ps(to + 8, y);
      continue;
    }
    if (src) {
      x = _mm256_add_ps(x, _mm256_maskload_ps(before, left));
      if (vectors > 1) y = _mm256_add_ps(y, _mm256_maskload_ps(before + 8, right));
    }
    _mm256_maskstore_ps(to, left, x);
    if (vectors > 1) _mm256_maskstore_ps(to + 8, right, y);
  }
}

AVX2 static void tile(const TileWork *work) {
  const int64_t m = work->m;
  if (work->n <= 8) {
    if (m > 3) sums_of_tile(6, 1, work);
    else sums_of_tile(3, 1, work);
  } else if (m > 4) sums_of_tile(6, 2, work);
  else if (m > 2) sums_of_tile(4, 2, work);
  else sums_of_tile(2, 2, work);
}

const Arithmetic avx2_arithmetic = {"avx2", ROWS, COLUMNS, 1, 1, pack_a, pack_b, tile, 0};
#endif
