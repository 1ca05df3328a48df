// x86 with AVX2 and FMA.
#include "quantized-plain.h"
#ifdef POSTTRAIN_X86
#include <immintrin.h>
#define AVX2 TARGET("avx2,fma")

enum { ROWS = 4, COLUMNS = 8 };

AVX2 static void unpack_bytes(const Weight *w, long row, long first, long count, float *to) {
  unpack_plainly(w, row, first, count, to);
}

// Eight codes are one word, of which every lane takes its own.
AVX2 static void unpack(const Weight *w, long row, long first, long count, float *to) {
  long start = w->format == INT8 ? 0 : row * elements_of_row(w) + first;
  if (w->format == INT8 || start % 8) {
    unpack_bytes(w, row, first, count, to);
    return;
  }
  const float *levels = four_bit_levels[w->format];
  __m256i shifts = w->format == INT4 ? _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28) : _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
  __m256 low = _mm256_loadu_ps(levels), high = _mm256_loadu_ps(levels + 8);
  long i = 0;
  for (; i + 8 <= count; i += 8) {
    long element = start + i;
    __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(*(const int32_t *)(w->codes + element / 2)), shifts);
    __m256 level;
    if (w->format == INT4) level = _mm256_cvtepi32_ps(_mm256_and_si256(code, _mm256_set1_epi32(15)));
    else
      level = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code),
                               _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
    __m256 zero = _mm256_set1_ps(zero_at(w, row, element));
    _mm256_storeu_ps(to + i, _mm256_mul_ps(_mm256_sub_ps(level, zero), _mm256_set1_ps(scale_at(w, element))));
  }
  unpack_bytes(w, row, first + i, count - i, to + i);
}

AVX2 static float dot(const float *x, const float *y, long count) { return dot_plainly(x, y, count); }
const QuantizedPath avx2_quantized = {unpack, 0, has_no_few, 0, 0, 0, dot};

// Bytes as 16-bit numbers: four steps of four columns are one vector, whose products add up in pairs.
AVX2 static void tile(const uint32_t *a, const uint32_t *b, long words, long rows, int32_t *sums) {
  __m256i all[ROWS][2];
  for (int i = 0; i < ROWS; i++) all[i][0] = all[i][1] = _mm256_setzero_si256();
  for (long word = 0; word < words; word++, a += ROWS, b += COLUMNS) {
    __m256i b0 = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)b));
    __m256i b1 = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(b + 4)));
    for (long i = 0; i < rows; i++) {
      __m256i x = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(a[i])));
      all[i][0] = _mm256_add_epi32(all[i][0], _mm256_madd_epi16(x, b0));
      all[i][1] = _mm256_add_epi32(all[i][1], _mm256_madd_epi16(x, b1));
    }
  }
  for (long i = 0; i < rows; i++) {
    // Within halves: columns 0, 1, 4, 5 and 2, 3, 6, 7.
    __m256i both = _mm256_hadd_epi32(all[i][0], all[i][1]);
    _mm256_storeu_si256((__m256i *)(sums + i * COLUMNS), _mm256_permute4x64_epi64(both, 0xd8));
  }
}
AVX2 static void pack(const uint8_t *codes, long stride, long steps, long count, uint32_t *panels) {
  pack_codes(codes, stride, steps, count, COLUMNS, panels);
}
AVX2 static float largest(const float *x, long count, float threshold) { return largest_plainly(x, count, threshold); }
AVX2 static void round_all(const float *x, long count, float factor, int8_t *to) { round_plainly(x, count, factor, to); }
const IntegerTile avx2_integers = {ROWS, COLUMNS, tile, pack, 0, largest, round_all};
#endif
