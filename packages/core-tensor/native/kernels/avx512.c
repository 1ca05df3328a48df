// x86 with AVX-512: float32.
#include "avx512.h"
#ifdef POSTTRAIN_X86

AVX512 static void pack(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  float *to = panel;
  __m512 scale = _mm512_set1_ps(side->scale);
  if (side->line_stride == 1) {
    __mmask16 left = first_lanes(lines), right = first_lanes(lines - 16);
    __mmask16 wide_left = first_lanes(width), wide_right = first_lanes(width - 16);
    for (int64_t k = 0; k < steps; k++) {
      const float *from = side->data + k * side->k_stride;
      _mm512_mask_storeu_ps(to + k * width, wide_left, _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(left, from)));
      if (wide_right)
        _mm512_mask_storeu_ps(to + k * width + 16, wide_right, _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(right, from + 16)));
    }
    return;
  }
  for (int64_t first = 0; first < width; first += 16)
    for (int64_t k = 0; k < steps; k += 16) {
      __m512i r[16];
      __mmask16 some = first_lanes(steps - k), wide = first_lanes(width - first);
      for (int i = 0; i < 16; i++)
        r[i] = first + i < lines
                   ? _mm512_castps_si512(_mm512_mul_ps(
                         scale, _mm512_maskz_loadu_ps(some, side->data + (first + i) * side->line_stride + k)))
                   : _mm512_setzero_si512();
      transpose_words(r);
      int64_t count = least(16, steps - k);
      for (int64_t i = 0; i < count; i++) _mm512_mask_storeu_epi32(to + (k + i) * width + first, wide, r[i]);
    }
}

// `rows` and `vectors` (of columns) are known where this is compiled: as many sums as there are rows and columns.
AVX512 static inline __attribute__((always_inline)) void sums_of_tile(const int rows, const int vectors, const TileWork *work) {
  const float *a = work->a_panel, *b = work->b_panel;
  const char *soon = work->soon[0], *also_soon = work->soon[1];
  __m512 sums[AVX512_ROWS][2];
#pragma GCC unroll 14
  for (int i = 0; i < AVX512_ROWS; i++) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
  for (int64_t i = 0; i < work->m; i++) {
    __builtin_prefetch(work->dst + i * work->stride, 1);
    __builtin_prefetch(work->dst + i * work->stride + 16, 1);
  }
  for (int64_t k = 0; k < work->words; k++) {
    __m512 b0 = _mm512_loadu_ps(b), b1 = vectors > 1 ? _mm512_loadu_ps(b + 16) : b0;
    _mm_prefetch((const char *)(b + 8 * AVX512_COLUMNS), _MM_HINT_T0);
    if (vectors > 1) _mm_prefetch((const char *)(b + 8 * AVX512_COLUMNS + 16), _MM_HINT_T0);
    _mm_prefetch(soon + 64 * k, _MM_HINT_T1);
    _mm_prefetch(also_soon + 64 * k, _MM_HINT_T1);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
      __m512 x = _mm512_set1_ps(a[i]);
      sums[i][0] = _mm512_fmadd_ps(x, b0, sums[i][0]);
      if (vectors > 1) sums[i][1] = _mm512_fmadd_ps(x, b1, sums[i][1]);
    }
    a += AVX512_ROWS;
    b += AVX512_COLUMNS;
  }
  store_sums(sums, rows, work);
}

AVX512 static void tile(const TileWork *work) {
  const int64_t m = work->m;
  if (work->n <= 16) {
    if (m > 8) sums_of_tile(14, 1, work);
    else sums_of_tile(8, 1, work);
  } else if (m > 12) sums_of_tile(14, 2, work);
  else if (m > 8) sums_of_tile(12, 2, work);
  else if (m > 4) sums_of_tile(8, 2, work);
  else if (m > 2) sums_of_tile(4, 2, work);
  else sums_of_tile(2, 2, work);
}

const Arithmetic avx512_arithmetic = {"avx512", AVX512_ROWS, AVX512_COLUMNS, 1, 1, pack, pack, tile, 0};
#endif
