// float32 to bfloat16, rounded to nearest, ties to even, as the processor's own conversion does (which takes denormals for 0).
#include "avx512.h"
#ifdef POSTTRAIN_X86
#define BFLOAT16 TARGET(AVX512_FEATURES ",avx512bf16")

// 32 numbers of one line, from k on, as bfloat16; zeros beyond `count`.
BFLOAT16 static inline __m512i line_as_bfloat16(const float *from, int64_t count, __m512 scale) {
  __m512 low = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(first_lanes(count), from));
  __m512 high = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(first_lanes(count - 16), from + 16));
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// 16 lines of two neighbouring k as pairs.
BFLOAT16 static inline __m512i pairs_as_bfloat16(__m512 even, __m512 odd) {
  __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
                                         4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}

// A panel of pairs, [k / 2][lines][2]; `words` with the padding.
BFLOAT16 static inline void pack_pairs(const Side *side, int64_t lines, int64_t width, int64_t steps, int64_t words, uint32_t *to) {
  __m512 scale = _mm512_set1_ps(side->scale);
  for (int64_t first = 0; first < width; first += 16) {
    __mmask16 wide = first_lanes(width - first), some = first_lanes(lines - first);
    if (side->line_stride == 1) {
      for (int64_t word = 0; word < words; word++) {
        const float *from = side->data + 2 * word * side->k_stride + first;
        __m512 even = 2 * word < steps ? _mm512_maskz_loadu_ps(some, from) : _mm512_setzero_ps();
        __m512 odd = 2 * word + 1 < steps ? _mm512_maskz_loadu_ps(some, from + side->k_stride) : _mm512_setzero_ps();
        __m512i pairs = pairs_as_bfloat16(_mm512_mul_ps(scale, even), _mm512_mul_ps(scale, odd));
        _mm512_mask_storeu_epi32(to + word * width + first, wide, pairs);
      }
      continue;
    }
    for (int64_t word = 0; word < words; word += 16) {
      __m512i r[16];
      for (int i = 0; i < 16; i++)
        r[i] = first + i < lines && 2 * word < steps
                   ? line_as_bfloat16(side->data + (first + i) * side->line_stride + 2 * word, steps - 2 * word, scale)
                   : _mm512_setzero_si512();
      transpose_words(r);
      int64_t count = least(16, words - word);
      for (int64_t i = 0; i < count; i++) _mm512_mask_storeu_epi32(to + (word + i) * width + first, wide, r[i]);
    }
  }
}
#endif
