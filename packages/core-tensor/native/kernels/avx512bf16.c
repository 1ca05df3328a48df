// x86 with AVX-512 and its bfloat16 instructions: two bfloat16 products at a time, added up in float32.
#include "bfloat16.h"
#ifdef POSTTRAIN_X86

BFLOAT16 static void pack(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  pack_pairs(side, lines, width, steps, (steps + 1) / 2, panel);
}

BFLOAT16 static void tile(const TileWork *work) {
  const int64_t words = work->words;
  const int32_t *a = work->a_panel, *b = work->b_panel;
  __m512 sums[AVX512_ROWS][2];
#pragma GCC unroll 14
  for (int i = 0; i < AVX512_ROWS; i++) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
  for (int64_t word = 0; word < words; word++, a += AVX512_ROWS, b += AVX512_COLUMNS) {
    __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + 16);
#pragma GCC unroll 14
    for (int i = 0; i < AVX512_ROWS; i++) {
      __m512bh x = (__m512bh)_mm512_set1_epi32(a[i]);
      sums[i][0] = _mm512_dpbf16_ps(sums[i][0], x, b0);
      sums[i][1] = _mm512_dpbf16_ps(sums[i][1], x, b1);
    }
  }
  store_sums(sums, AVX512_ROWS, work);
}

const Arithmetic avx512bf16_arithmetic = {"avx512bf16", AVX512_ROWS, AVX512_COLUMNS, 2, 1, pack, pack, tile, 0};
#endif
