// x86 with AVX2 and FMA: codes of 4 bits. A vector has eight words of eight codes; step t takes the t-th code of each word.
#include "avx2.h"
#ifdef POSTTRAIN_X86
#include "quantized-plain.h"
#include <math.h>
#include <string.h>

// A group is 32 bytes, 64 codes.
enum { GROUP = 64, MOST_BLOCKS = 4096, ROWS_AT_ONCE = 4, PANEL_COLUMNS = 16, STEPS = 8 };
// Of a group of a row of x: floats are its 64 and the sums of its words; bytes are 32 of the low halves, 32 of the high ones, what each
// word's are multiples of, and their sums.
enum { FLOATS_OF_GROUP = 72, BYTES_OF_GROUP = 128 };

typedef struct {
  __m256 low, high;
} Levels;

INLINE Levels levels_of(Format format) {
  const float *levels = four_bit_levels[format];
  return (Levels){_mm256_loadu_ps(levels), _mm256_loadu_ps(levels + 8)};
}

// What codes stand for that are in bits 4t to 4t + 3 of each lane; of int4 they are whole numbers, and `is_signed` takes 8 from them.
INLINE __m256 levels_at(const int is_int4, const int is_signed, Levels levels, __m256i words, const int t) {
  if (is_int4 && is_signed) return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words, 28 - 4 * t), 28));
  if (is_int4) return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(words, 4 * t), _mm256_set1_epi32(15)));
  __m256i code = _mm256_srli_epi32(words, 4 * t);
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(levels.low, code), _mm256_permutevar8x32_ps(levels.high, code),
                          _mm256_castsi256_ps(_mm256_slli_epi32(words, 28 - 4 * t)));
}

AVX2 static void unpack_bytes(const Weight *w, int64_t row, int64_t first, int64_t count, float *to) {
  const uint8_t *codes = w->codes + row * w->out + first;
  const float *scales = w->scales + first;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i code = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(codes + i)));
    __m256 unit = _mm256_mul_ps(_mm256_loadu_ps(scales + i), _mm256_set1_ps(1.0f / 127));
    _mm256_storeu_ps(to + i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code, _mm256_set1_epi32(128))), unit));
  }
  unpack_plainly(w, row, first + i, count - i, to + i);
}

// Eight codes are one word, of which every lane takes its own.
AVX2 static void unpack(const Weight *w, int64_t row, int64_t first, int64_t count, float *to) {
  if (w->format == INT8) {
    unpack_bytes(w, row, first, count, to);
    return;
  }
  const int64_t start = row * elements_of_row(w) + first;
  if (start % 8) {
    unpack_plainly(w, row, first, count, to);
    return;
  }
  const int is_int4 = w->format == INT4;
  const Levels levels = levels_of(w->format);
  const __m256i shifts = is_int4 ? _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28) : _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
  __m256 zero = _mm256_setzero_ps(), scale = zero;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const int64_t element = start + i;
    if (i == 0 || (element & (w->block - 1)) == 0) {
      zero = _mm256_set1_ps(zero_at(w, row, element));
      scale = _mm256_set1_ps(scale_at(w, element));
    }
    int32_t word;
    memcpy(&word, w->codes + element / 2, sizeof word);
    __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(word), shifts);
    __m256 level = is_int4 ? levels_at(1, 0, levels, code, 0) : levels_at(0, 0, levels, code, 0);
    _mm256_storeu_ps(to + i, _mm256_mul_ps(_mm256_sub_ps(level, zero), scale));
  }
  unpack_plainly(w, row, first + i, count - i, to + i);
}

// Eight rows of words from `element` of each on, and then a vector of all rows of each word.
INLINE void words_of_rows(const Weight *w, int64_t row, int64_t rows, int64_t elements, int64_t at, __m256 r[8]) {
  const __m256i some = first_lanes((elements - at) / 8);
  const int is_whole = elements - at >= GROUP;
#pragma GCC unroll 8
  for (int n = 0; n < 8; n++) {
    const int *from = (const int *)(w->codes + ((row + n) * elements + at) / 2);
    if (n >= rows) r[n] = _mm256_setzero_ps();
    else r[n] = _mm256_castsi256_ps(is_whole ? _mm256_loadu_si256((const __m256i *)from) : _mm256_maskload_epi32(from, some));
  }
  transpose_words(r);
}

INLINE void panel_of(const int is_int4, const Weight *w, int64_t row, int64_t rows, int64_t first, int64_t count, float *to) {
  const int64_t elements = elements_of_row(w);
  const int is_even = elements % w->block == 0;
  const Levels levels = levels_of(w->format);
  for (int64_t half = 0; half < PANEL_COLUMNS; half += 8) {
    const int64_t here = least(8, rows - half);
    __m256 scale = _mm256_setzero_ps(), zero = scale;
    for (int64_t i = 0; i < count; i += GROUP) {
      __m256 words[8];
      words_of_rows(w, row + half, here, elements, first + i, words);
      for (int64_t word = 0; word < 8 && i + 8 * word < count; word++) {
        const int64_t k = first + i + 8 * word;
        if (!is_even || (k & (w->block - 1)) == 0 || i + word == 0) {
          float scales[8] = {0}, zeros[8] = {0};
          for (int64_t n = 0; n < here; n++) {
            const int64_t element = (row + half + n) * elements + k;
            scales[n] = scale_at(w, element);
            zeros[n] = zero_at(w, row + half + n, element);
          }
          scale = _mm256_loadu_ps(scales);
          zero = _mm256_loadu_ps(zeros);
        }
        float *at = to + (i + 8 * word) * PANEL_COLUMNS + half;
        const int64_t steps = count - i - 8 * word;
#pragma GCC unroll 8
        for (int t = 0; t < STEPS; t++) {
          const int step = is_int4 ? t : t ^ 1;
          __m256 level = levels_at(is_int4, 0, levels, _mm256_castps_si256(words[word]), t);
          if (steps >= 8 || step < steps) _mm256_storeu_ps(at + PANEL_COLUMNS * step, _mm256_mul_ps(_mm256_sub_ps(level, zero), scale));
        }
      }
    }
  }
}

AVX2 static void panel(const Weight *w, int64_t row, int64_t rows, int64_t first, int64_t count, float *to) {
  if (w->format != INT8 && elements_of_row(w) % 8 == 0) {
    if (w->format == INT4) panel_of(1, w, row, rows, first, count, to);
    else panel_of(0, w, row, rows, first, count, to);
    return;
  }
  float line[GROUP];
  for (int64_t i = 0; i < count; i += GROUP)
    for (int64_t n = 0; n < PANEL_COLUMNS; n++) {
      int64_t some = least(GROUP, count - i);
      if (n < rows) unpack(w, row + n, first + i, some, line);
      for (int64_t j = 0; j < some; j++) to[(i + j) * PANEL_COLUMNS + n] = n < rows ? line[j] : 0.0f;
    }
}

AVX2 static float dot(const float *x, const float *y, int64_t count) { return dot_plainly(x, y, count); }

static int64_t groups_of(const Weight *w) { return (w->in + GROUP - 1) / GROUP; }

// Every word of a row is one row's and one block's.
static int has_few(const Weight *w, int rounds) {
  (void)rounds;
  if (w->format == INT8 || (w->format != INT4 && w->in % 8)) return 0;
  return blocks_of_row(w) <= MOST_BLOCKS;
}

static size_t arranged_bytes(const Weight *w, int rounds) {
  return groups_of(w) * (rounds ? BYTES_OF_GROUP : FLOATS_OF_GROUP * sizeof(float));
}

// A row of x as a group's lanes meet it: vector t has each word's element t; the ninth has their sums.
AVX2 static void arrange_floats(const Weight *w, const float *x, float *to) {
  for (int64_t first = 0; first < w->in; first += GROUP, to += FLOATS_OF_GROUP) {
    float last[GROUP] = {0};
    const float *from = x + first;
    if (w->in - first < GROUP) from = memcpy(last, from, (w->in - first) * sizeof *x);
    __m256 r[8], sum = _mm256_setzero_ps();
    for (int n = 0; n < 8; n++) r[n] = _mm256_loadu_ps(from + 8 * n);
    transpose_words(r);
    for (int t = 0; t < STEPS; t++) {
      __m256 lanes = r[w->format == INT4 ? t : t ^ 1];
      _mm256_storeu_ps(to + 8 * t, lanes);
      sum = _mm256_add_ps(sum, lanes);
    }
    _mm256_storeu_ps(to + GROUP, sum);
  }
}

AVX2 static void arrange_bytes(const Weight *w, const float *x, char *to) {
  float factor = 0, unit = 0;
  for (int64_t first = 0; first < w->in; first += GROUP, to += BYTES_OF_GROUP) {
    float units[8] = {0}, sums[8] = {0};
    int8_t codes[GROUP] = {0};
    for (int64_t i = 0; i < least(GROUP, w->in - first); i += 16) {
      const int64_t count = least(16, w->in - first - i);
      if (((first + i) & (w->block - 1)) == 0) {
        float most = avx2_integers.largest(x + first + i, least(w->block, w->in - first - i), 0);
        factor = rounding_factor(most, SMALLEST_OF_BLOCK);
        unit = most * (1.0f / 127);
      }
      avx2_integers.round(x + first + i, count, factor, codes + i);
      units[i / 8] = units[i / 8 + 1] = unit;
    }
    for (int n = 0; n < 8; n++) {
      int sum = 0;
      for (int t = 0; t < STEPS; t++) sum += codes[8 * n + t];
      sums[n] = (float)sum;
      for (int t = 0; t < 4; t++) {
        to[4 * n + t] = codes[8 * n + 2 * t];
        to[32 + 4 * n + t] = codes[8 * n + 2 * t + 1];
      }
    }
    memcpy(to + 64, units, sizeof units);
    memcpy(to + 96, sums, sizeof sums);
  }
}

static void arrange(const Weight *w, int rounds, const float *x, void *to) {
  if (rounds) arrange_bytes(w, x, to);
  else arrange_floats(w, x, to);
}

// Of all blocks of a row: what is added to a code, (8 - zero) of floats and -zero of bytes.
AVX2 static void shifts_of_blocks(const Weight *w, int64_t row, float from, float *to) {
  const int64_t blocks = blocks_of_row(w);
  if (w->number_zeros) {
    for (int64_t b = 0; b < blocks; b++) to[b] = from - w->number_zeros[row * blocks + b];
    return;
  }
  const uint8_t *zeros = w->zeros + row * ((blocks + 1) / 2);
  for (int64_t b = 0; b < blocks; b += 8) {
    int32_t word = 0;
    memcpy(&word, zeros + b / 2, least(4, (blocks - b + 1) / 2));
    __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(word), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256 zero = _mm256_cvtepi32_ps(_mm256_and_si256(code, _mm256_set1_epi32(15)));
    _mm256_storeu_ps(to + b, _mm256_sub_ps(_mm256_set1_ps(from), zero));
  }
}

// Which block each lane of a group is in, from the first of the group on.
INLINE __m256i blocks_of_lanes(int64_t element, int64_t block, int shift) {
  const __m256i eighth = _mm256_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56);
  return _mm256_srl_epi32(_mm256_add_epi32(eighth, _mm256_set1_epi32((int)(element & (block - 1)))), _mm_cvtsi32_si128(shift));
}

// The scales of a group's lanes: of the blocks from `first` on, of which the row has some up to `last`.
INLINE __m256 scales_of_lanes(const Weight *w, int64_t first, int64_t last, __m256i lanes) {
  const float *scales = w->scales + first;
  return _mm256_permutevar8x32_ps(last - first >= 7 ? _mm256_loadu_ps(scales) : _mm256_maskload_ps(scales, first_lanes(last - first + 1)), lanes);
}

INLINE __m256i codes_of_group(const uint8_t *codes, int64_t group, int64_t elements) {
  const uint8_t *from = codes + group * (GROUP / 2);
  const int64_t rest = elements - group * GROUP;
  _mm_prefetch((const char *)from + 1024, _MM_HINT_T0);
  return rest >= GROUP ? _mm256_loadu_si256((const __m256i *)from) : _mm256_maskload_epi32((const int *)from, first_lanes(rest / 8));
}

// `rows`, whether codes are whole numbers and whether zeros differ are known where this is compiled.
INLINE void floats(const int rows, const int is_int4, const int has_zeros, const Weight *w, const float *x, int64_t begin, int64_t end, float *y,
                   int64_t stride) {
  const int64_t groups = groups_of(w), row_of_x = groups * FLOATS_OF_GROUP, elements = elements_of_row(w), of_row = blocks_of_row(w);
  const int shift = block_shift(w), is_even = elements % w->block == 0;
  const Levels levels = levels_of(w->format);
  const __m256i even = blocks_of_lanes(0, w->block, shift), eights = _mm256_set1_epi32((int)0x88888888);
  float zeros[has_zeros ? MOST_BLOCKS + 8 : 1];
  for (int64_t n = begin; n < end; n++) {
    const int64_t start = n * elements, last = (start + elements - 1) >> shift;
    const uint8_t *codes = w->codes + start / 2;
    __m256 sums[ROWS_AT_ONCE];
#pragma GCC unroll 4
    for (int m = 0; m < rows; m++) sums[m] = _mm256_setzero_ps();
    if (has_zeros) shifts_of_blocks(w, n, 8.0f, zeros);
    for (int64_t g = 0; g < groups; g++) {
      const int64_t element = start + g * GROUP, first = element >> shift;
      __m256i c = codes_of_group(codes, g, elements);
      if (is_int4) c = _mm256_xor_si256(c, eights);
      const __m256i lanes = is_even ? even : blocks_of_lanes(element, w->block, shift);
      const __m256 scale = scales_of_lanes(w, first, last, lanes);
      __m256 v[STEPS], zero;
#pragma GCC unroll 8
      for (int t = 0; t < STEPS; t++) v[t] = levels_at(is_int4, 1, levels, c, t);
      if (has_zeros) zero = _mm256_permutevar8x32_ps(_mm256_loadu_ps(zeros + first - n * of_row), lanes);
#pragma GCC unroll 4
      for (int m = 0; m < rows; m++) {
        const float *from = x + m * row_of_x + g * FLOATS_OF_GROUP;
        __m256 a = _mm256_mul_ps(v[0], _mm256_loadu_ps(from)), b = _mm256_mul_ps(v[1], _mm256_loadu_ps(from + 8));
        if (has_zeros) a = _mm256_fmadd_ps(zero, _mm256_loadu_ps(from + GROUP), a);
#pragma GCC unroll 4
        for (int t = 2; t < STEPS; t += 2) {
          a = _mm256_fmadd_ps(v[t], _mm256_loadu_ps(from + 8 * t), a);
          b = _mm256_fmadd_ps(v[t + 1], _mm256_loadu_ps(from + 8 * t + 8), b);
        }
        sums[m] = _mm256_fmadd_ps(_mm256_add_ps(a, b), scale, sums[m]);
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < rows; m++) y[m * stride + n] = sum_of_lanes(sums[m]);
  }
}

// Products of a code (up to 15) and a byte (up to 127) add up in 16 bits, four at a time, without reaching their end.
INLINE void bytes(const int rows, const int has_zeros, const Weight *w, const char *x, int64_t begin, int64_t end, float *y, int64_t stride) {
  const int64_t groups = groups_of(w), row_of_x = groups * BYTES_OF_GROUP, elements = elements_of_row(w), of_row = blocks_of_row(w);
  const int shift = block_shift(w);
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1), lanes = blocks_of_lanes(0, w->block, shift);
  float zeros[has_zeros ? MOST_BLOCKS + 8 : 1];
  for (int64_t n = begin; n < end; n++) {
    const int64_t start = n * elements, last = (start + elements - 1) >> shift;
    const uint8_t *codes = w->codes + start / 2;
    __m256 sums[ROWS_AT_ONCE];
#pragma GCC unroll 4
    for (int m = 0; m < rows; m++) sums[m] = _mm256_setzero_ps();
    if (has_zeros) shifts_of_blocks(w, n, 0.0f, zeros);
    for (int64_t g = 0; g < groups; g++) {
      const int64_t first = (start + g * GROUP) >> shift;
      const __m256i c = codes_of_group(codes, g, elements);
      const __m256 scale = scales_of_lanes(w, first, last, lanes);
      __m256 zero = _mm256_set1_ps(-8.0f);
      if (has_zeros) zero = _mm256_permutevar8x32_ps(_mm256_loadu_ps(zeros + first - n * of_row), lanes);
      const __m256i evens = _mm256_and_si256(c, low), odds = _mm256_and_si256(_mm256_srli_epi32(c, 4), low);
#pragma GCC unroll 4
      for (int m = 0; m < rows; m++) {
        const char *from = x + m * row_of_x + g * BYTES_OF_GROUP;
        __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(evens, _mm256_loadu_si256((const __m256i *)from)),
                                         _mm256_maddubs_epi16(odds, _mm256_loadu_si256((const __m256i *)(from + 32))));
        __m256 whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
        __m256 product = _mm256_fmadd_ps(zero, _mm256_loadu_ps((const float *)(from + 96)), whole);
        sums[m] = _mm256_fmadd_ps(product, _mm256_mul_ps(scale, _mm256_loadu_ps((const float *)(from + 64))), sums[m]);
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < rows; m++) y[m * stride + n] = sum_of_lanes(sums[m]);
  }
}

#define WITH_ROWS(rows)                                                                                \
  AVX2 static void floats_##rows(const Weight *w, const void *x, int64_t b, int64_t e, float *y, int64_t s) {   \
    if (w->format != INT4) floats(rows, 0, 0, w, x, b, e, y, s);                                       \
    else if (w->zeros || w->number_zeros) floats(rows, 1, 1, w, x, b, e, y, s);                        \
    else floats(rows, 1, 0, w, x, b, e, y, s);                                                         \
  }                                                                                                    \
  AVX2 static void bytes_##rows(const Weight *w, const void *x, int64_t b, int64_t e, float *y, int64_t s) {    \
    if (w->zeros || w->number_zeros) bytes(rows, 1, w, x, b, e, y, s);                                 \
    else bytes(rows, 0, w, x, b, e, y, s);                                                             \
  }
WITH_ROWS(1)
WITH_ROWS(2)
WITH_ROWS(4)

static void few(const Weight *w, int rounds, const void *arranged, int64_t rows, int64_t begin, int64_t end, float *y, int64_t stride) {
  typedef void (*Few)(const Weight *, const void *, int64_t, int64_t, float *, int64_t);
  static const Few of_floats[] = {floats_1, floats_2, floats_4}, of_bytes[] = {bytes_1, bytes_2, bytes_4};
  const size_t row_bytes = arranged_bytes(w, rounds);
  for (int64_t m = 0; m < rows;) {
    int power = rows - m >= 4 ? 2 : rows - m >= 2 ? 1 : 0;
    (rounds ? of_bytes : of_floats)[power](w, (const char *)arranged + m * row_bytes, begin, end, y + m * stride, stride);
    m += (int64_t)1 << power;
  }
}

const QuantizedPath avx2_quantized = {unpack, panel, PANEL_COLUMNS, has_few, arranged_bytes, arrange, few, dot};
#endif
