// x86 with AVX2: bytes multiplied as 16-bit numbers, whose products add up in pairs. (Products of bytes themselves, of 255 and 127,
// do not fit 16 bits where two of them meet.)
#include "avx2.h"
#ifdef POSTTRAIN_X86
#include "quantized.h"
#include <math.h>
#include <string.h>

enum { ROWS = 4, COLUMNS = 8, WORDS_AT_ONCE = 128, MOST_COLUMNS = 256 };

// Adds some words to the sums. `rows` is known where this is compiled; four steps of four columns are one vector.
INLINE void add_words(const int rows, const int64_t *wide, const uint32_t *b, int64_t count, __m256i *sums) {
  __m256i all[ROWS][2];
#pragma GCC unroll 4
  for (int i = 0; i < rows; i++) {
    all[i][0] = sums[2 * i];
    all[i][1] = sums[2 * i + 1];
  }
  for (int64_t word = 0; word < count; word++, b += COLUMNS, wide += ROWS) {
    __m256i b0 = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)b));
    __m256i b1 = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(b + 4)));
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
      __m256i x = _mm256_set1_epi64x(wide[i]);
      all[i][0] = _mm256_add_epi32(all[i][0], _mm256_madd_epi16(x, b0));
      all[i][1] = _mm256_add_epi32(all[i][1], _mm256_madd_epi16(x, b1));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < rows; i++) {
    sums[2 * i] = all[i][0];
    sums[2 * i + 1] = all[i][1];
  }
}

AVX2 static __attribute__((noinline)) void add_words_1(const int64_t *w, const uint32_t *b, int64_t n, __m256i *s) { add_words(1, w, b, n, s); }
AVX2 static __attribute__((noinline)) void add_words_2(const int64_t *w, const uint32_t *b, int64_t n, __m256i *s) { add_words(2, w, b, n, s); }
AVX2 static __attribute__((noinline)) void add_words_4(const int64_t *w, const uint32_t *b, int64_t n, __m256i *s) { add_words(4, w, b, n, s); }

AVX2 static void tile(const uint32_t *a, const uint32_t *b, int64_t words, int64_t rows, int32_t *sums) {
  __m256i all[2 * ROWS];
  for (int i = 0; i < 2 * ROWS; i++) all[i] = _mm256_setzero_si256();
  for (int64_t first = 0; first < words; first += WORDS_AT_ONCE, b += WORDS_AT_ONCE * COLUMNS) {
    // The left side as 16-bit numbers, once for all columns.
    int64_t wide[WORDS_AT_ONCE * ROWS];
    const int64_t count = least(WORDS_AT_ONCE, words - first);
    for (int64_t word = 0; word < count; word++, a += ROWS)
      _mm256_storeu_si256((__m256i *)(wide + word * ROWS), _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)a)));
    (rows > 2 ? add_words_4 : rows > 1 ? add_words_2 : add_words_1)(wide, b, count, all);
  }
  for (int64_t i = 0; i < rows; i++) {
    // Within halves: columns 0, 1, 4, 5 and 2, 3, 6, 7.
    __m256i both = _mm256_hadd_epi32(all[2 * i], all[2 * i + 1]);
    _mm256_storeu_si256((__m256i *)(sums + i * COLUMNS), _mm256_permute4x64_epi64(both, 0xd8));
  }
}

// 32 columns of a line, zeros where there is nothing.
INLINE __m256i line_of(const uint8_t *from, int64_t columns) {
  if (columns >= 32) return _mm256_loadu_si256((const __m256i *)from);
  uint8_t some[32] = {0};
  if (columns > 0) memcpy(some, from, columns);
  return _mm256_loadu_si256((const __m256i *)some);
}

// Four lines through all panels, and then the next: memory is read in its order.
AVX2 static void pack(const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, uint32_t *panels) {
  const int64_t of_panel = (steps + 3) / 4 * COLUMNS;
  for (int64_t step = 0; step < steps; step += 4, panels += COLUMNS) {
    uint32_t *to = panels;
    for (int64_t first = 0; first < count; first += 32) {
      __m256i line[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) line[i] = line_of(codes + (step + i) * stride + first, step + i < steps ? count - first : 0);
      __m256i ab0 = _mm256_unpacklo_epi8(line[0], line[1]), ab1 = _mm256_unpackhi_epi8(line[0], line[1]);
      __m256i cd0 = _mm256_unpacklo_epi8(line[2], line[3]), cd1 = _mm256_unpackhi_epi8(line[2], line[3]);
      // Columns 0 to 3 and 16 to 19, 4 to 7 and 20 to 23 …
      __m256i w0 = _mm256_unpacklo_epi16(ab0, cd0), w1 = _mm256_unpackhi_epi16(ab0, cd0);
      __m256i w2 = _mm256_unpacklo_epi16(ab1, cd1), w3 = _mm256_unpackhi_epi16(ab1, cd1);
      const __m256i four[4] = {_mm256_permute2x128_si256(w0, w1, 0x20), _mm256_permute2x128_si256(w2, w3, 0x20),
                               _mm256_permute2x128_si256(w0, w1, 0x31), _mm256_permute2x128_si256(w2, w3, 0x31)};
      for (int64_t panel = 0; panel < 4 && first + panel * COLUMNS < count; panel++, to += of_panel)
        _mm256_storeu_si256((__m256i *)to, four[panel]);
    }
  }
}

enum { LINES = 8, LINES_AHEAD = 16 };

// Adds eight lines of sixteen columns to their sums: columns 0 to 3 and 8 to 11, then 4 to 7 and 12 to 15.
INLINE void add_lines(const __m128i line[LINES], const __m256i x[LINES / 2], __m256i sums[2]) {
#pragma GCC unroll 4
  for (int pair = 0; pair < LINES / 2; pair++) {
    __m256i first = _mm256_cvtepu8_epi16(line[2 * pair]), second = _mm256_cvtepu8_epi16(line[2 * pair + 1]);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_unpacklo_epi16(first, second), x[pair]));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_unpackhi_epi16(first, second), x[pair]));
  }
}

// One row, eight lines at a time through all columns: memory is read in its order, and the sums stay in the first cache.
AVX2 static void one_row(const uint32_t *a, const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, int32_t *sums) {
  __m256i all[MOST_COLUMNS / 16][2];
  const int64_t vectors = (count + 15) / 16;
  for (int64_t v = 0; v < vectors; v++) all[v][0] = all[v][1] = _mm256_setzero_si256();
  for (int64_t step = 0; step < steps; step += LINES) {
    const int64_t lines = least(LINES, steps - step);
    __m256i x[LINES / 2];
    for (int64_t pair = 0; pair < LINES / 2; pair++) {
      const int8_t *bytes = (const int8_t *)(a + (step / 4 + pair / 2) * ROWS) + pair % 2 * 2;
      const int is_there = step + 2 * pair < steps;
      x[pair] = _mm256_set1_epi32(is_there ? (int)((uint32_t)bytes[1] << 16 | (uint16_t)bytes[0]) : 0);
    }
    for (int64_t v = 0; v < vectors; v++) {
      const uint8_t *from = codes + step * stride + 16 * v;
      const int is_whole = lines == LINES && count - 16 * v >= 16;
      __m128i line[LINES];
      if (is_whole) {
#pragma GCC unroll 8
        for (int64_t i = 0; i < LINES; i++) {
          line[i] = _mm_loadu_si128((const __m128i *)(from + i * stride));
          if (v % 4 == 0) _mm_prefetch((const char *)from + (LINES_AHEAD + i) * stride, _MM_HINT_T0);
        }
      } else
        for (int64_t i = 0; i < LINES; i++)
          line[i] = _mm256_castsi256_si128(line_of(from + i * stride, i < lines ? least(16, count - 16 * v) : 0));
      add_lines(line, x, all[v]);
    }
  }
  for (int64_t v = 0; v < vectors; v++) {
    _mm256_storeu_si256((__m256i *)(sums + 16 * v), _mm256_permute2x128_si256(all[v][0], all[v][1], 0x20));
    _mm256_storeu_si256((__m256i *)(sums + 16 * v + 8), _mm256_permute2x128_si256(all[v][0], all[v][1], 0x31));
  }
}

AVX2 static float largest(const float *x, int64_t count, float threshold) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m256 limit = _mm256_set1_ps(threshold > 0 ? threshold : INFINITY);
  // By its bits: NaN has more than infinity.
  __m256i bits = _mm256_setzero_si256();
  for (int64_t i = 0; i < count; i += 8) {
    __m256 some = count - i >= 8 ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, first_lanes(count - i));
    __m256i one = _mm256_and_si256(_mm256_castps_si256(some), magnitude);
    if (threshold > 0) one = _mm256_and_si256(one, _mm256_castps_si256(_mm256_cmp_ps(_mm256_castsi256_ps(one), limit, _CMP_NGE_UQ)));
    bits = _mm256_max_epi32(bits, one);
  }
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

AVX2 static void round_all(const float *x, int64_t count, float factor, int8_t *to) {
  for (int64_t i = 0; i < count; i += 8) {
    const int64_t here = least(8, count - i);
    __m256 scaled = here == 8 ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, first_lanes(here));
    scaled = _mm256_mul_ps(scaled, _mm256_set1_ps(factor));
    scaled = _mm256_max_ps(_mm256_min_ps(scaled, _mm256_set1_ps(127.0f)), _mm256_set1_ps(-127.0f));
    __m256i whole = _mm256_cvtps_epi32(scaled);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    int8_t codes[16];
    _mm_storeu_si128((__m128i *)codes, _mm_packs_epi16(words, words));
    memcpy(to + i, codes, here);
  }
}

const IntegerTile avx2_integers = {ROWS, COLUMNS, tile, pack, one_row, largest, round_all};
#endif
