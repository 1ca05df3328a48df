// x86 with AVX-512: codes of 4 bits, whose value every lane looks up in a register of sixteen.
#include "avx512.h"
#ifdef POSTTRAIN_X86
#include "quantized.h"
#include <math.h>
#include <string.h>
#define VNNI TARGET(AVX512_FEATURES ",avx512vnni")
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// A group is 64 bytes, 128 codes; a lane has the eight of one 32-bit word.
enum { GROUP = 128, MOST_BLOCKS = 4096, ROWS_AT_ONCE = 8 };

// By how much a lane of sixteen neighbouring codes shifts its word.
AVX512 ALWAYS_INLINE __m512i shifts_of(Format format) {
  return format == INT4 ? _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28)
                        : _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24);
}

// Sixteen codes from eight bytes, each in the low half of a lane's byte; what is above it does not matter to a look-up.
AVX512 ALWAYS_INLINE __m512i sixteen_codes(__m128i bytes, __m512i shifts) {
  const __m512i word = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  return _mm512_srlv_epi32(_mm512_permutexvar_epi32(word, _mm512_castsi128_si512(bytes)), shifts);
}

AVX512 static void unpack_bytes(const Weight *w, int64_t row, int64_t first, int64_t count, float *to) {
  if (w->format != INT8) {
    for (int64_t i = 0; i < count; i++) to[i] = unpacked_at(w, row, first + i);
    return;
  }
  const uint8_t *codes = w->codes + row * w->out + first;
  for (int64_t i = 0; i < count; i += 16) {
    __mmask16 some = first_lanes(count - i);
    __m512i code = _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(some, codes + i)), _mm512_set1_epi32(128));
    __m512 unit = _mm512_mul_ps(_mm512_maskz_loadu_ps(some, w->scales + first + i), _mm512_set1_ps(1.0f / 127));
    _mm512_mask_storeu_ps(to + i, some, _mm512_mul_ps(_mm512_cvtepi32_ps(code), unit));
  }
}

AVX512 static void unpack(const Weight *w, int64_t row, int64_t first, int64_t count, float *to) {
  int64_t start = row * elements_of_row(w) + first;
  if (w->format == INT8 || start % 16) {
    unpack_bytes(w, row, first, count, to);
    return;
  }
  const __m512 levels = _mm512_loadu_ps(four_bit_levels[w->format]);
  const __m512i shifts = shifts_of(w->format);
  const int is_int4 = w->format == INT4, differ = w->zeros || w->number_zeros;
  __m512 zero = _mm512_set1_ps(is_int4 ? 8.0f : 0.0f);
  for (int64_t i = 0; i < count; i += 16) {
    int64_t element = start + i;
    // Two codes a byte.
    __mmask16 bytes = count - i >= 16 ? 0xff : first_lanes((count - i + 1) / 2);
    __m512i code = sixteen_codes(_mm_maskz_loadu_epi8(bytes, w->codes + element / 2), shifts);
    __m512 level = _mm512_permutexvar_ps(code, levels);
    if (differ) zero = _mm512_set1_ps(zero_at(w, row, element));
    level = _mm512_mul_ps(_mm512_sub_ps(level, zero), _mm512_set1_ps(scale_at(w, element)));
    _mm512_mask_storeu_ps(to + i, first_lanes(count - i), level);
  }
}

// Sixteen rows of W: the zeros of the blocks that each lane is in at its `block`.
AVX512 ALWAYS_INLINE __m512 zeros_of_lanes(const Weight *w, __m512i blocks, __m512i rows, __mmask16 some) {
  __m512 eight = _mm512_set1_ps(8.0f);
  if (w->number_zeros) return _mm512_mask_i32gather_ps(eight, some, blocks, w->number_zeros, 4);
  if (!w->zeros) return eight;
  const int of_row = (int)blocks_of_row(w), bytes = (of_row + 1) / 2, last = (int)w->out * bytes - 4;
  __m512i block = _mm512_sub_epi32(blocks, _mm512_mullo_epi32(rows, _mm512_set1_epi32(of_row)));
  __m512i at = _mm512_add_epi32(_mm512_mullo_epi32(rows, _mm512_set1_epi32(bytes)), _mm512_srli_epi32(block, 1));
  // Four bytes are read, and none behind the last.
  __m512i from = _mm512_min_epi32(at, _mm512_set1_epi32(last));
  __m512i shift = _mm512_slli_epi32(_mm512_sub_epi32(at, from), 3);
  shift = _mm512_add_epi32(shift, _mm512_slli_epi32(_mm512_and_si512(block, _mm512_set1_epi32(1)), 2));
  __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some, from, w->zeros, 1);
  return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srlv_epi32(words, shift), _mm512_set1_epi32(15)));
}

AVX512 static void panel(const Weight *w, int64_t row, int64_t rows, int64_t first, int64_t count, float *to) {
  const int64_t elements = elements_of_row(w);
  const int shift = block_shift(w);
  // Every word is one block's, positions fit 32 bits, and there are four bytes of zeros.
  int fits = elements % 8 == 0 && (int64_t)w->out * elements < (int64_t)1 << 31 && (!w->zeros || w->out * ((blocks_of_row(w) + 1) / 2) >= 4);
  if (w->format == INT8 || !fits) {
    float line[GROUP];
    for (int64_t i = 0; i < count; i += GROUP)
      for (int64_t n = 0; n < 32; n++) {
        int64_t some = least(GROUP, count - i);
        if (n < rows) unpack(w, row + n, first + i, some, line);
        for (int64_t j = 0; j < some; j++) to[(i + j) * 32 + n] = n < rows ? line[j] : 0.0f;
      }
    return;
  }
  const __m512 levels = _mm512_loadu_ps(four_bit_levels[w->format]);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const int is_int4 = w->format == INT4, is_even = elements % w->block == 0;
  for (int64_t half = 0; half < 32; half += 16) {
    const __mmask16 some = first_lanes(rows - half);
    const __m512i row_of_lane = _mm512_add_epi32(_mm512_set1_epi32((int)(row + half)), lane);
    const __m512i start = _mm512_mullo_epi32(row_of_lane, _mm512_set1_epi32((int)elements));
    __m512 scale = _mm512_setzero_ps(), zero = _mm512_setzero_ps();
    for (int64_t i = 0; i < count; i += GROUP) {
      // A group of each row, and then a vector of all rows of each of its words.
      const __mmask16 words = first_lanes((elements - first - i + 7) / 8);
      __m512i r[16];
      for (int n = 0; n < 16; n++)
        r[n] = some >> n & 1 ? _mm512_maskz_loadu_epi32(words, w->codes + ((row + half + n) * elements + first + i) / 2)
                             : _mm512_setzero_si512();
      transpose_words(r);
      for (int64_t word = 0; word < 16 && i + 8 * word < count; word++) {
        int64_t k = first + i + 8 * word;
        if (!is_even || (k & (w->block - 1)) == 0 || i + word == 0) {
          __m512i blocks = _mm512_srli_epi32(_mm512_add_epi32(start, _mm512_set1_epi32((int)k)), shift);
          scale = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), some, blocks, w->scales, 4);
          if (is_int4) zero = zeros_of_lanes(w, blocks, row_of_lane, some);
        }
        float *at = to + (i + 8 * word) * 32 + half;
        const int64_t here = count - i - 8 * word;
#pragma GCC unroll 8
        for (int t = 0; t < 8; t++) {
          __m512 level = _mm512_permutexvar_ps(t ? _mm512_srli_epi32(r[word], 4 * t) : r[word], levels);
          const int k_of = is_int4 ? t : t ^ 1;
          if (here >= 8 || k_of < here) _mm512_storeu_ps(at + 32 * k_of, _mm512_mul_ps(_mm512_sub_ps(level, zero), scale));
        }
      }
    }
  }
}

AVX512 static float dot(const float *x, const float *y, int64_t count) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    __mmask16 some = first_lanes(count - i);
    sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, x + i), _mm512_maskz_loadu_ps(some, y + i), sum);
  }
  return _mm512_reduce_add_ps(sum);
}

static int64_t groups_of(const Weight *w) { return (w->in + GROUP - 1) / GROUP; }

// Every word of a row is one row's and one block's.
static int has_few(const Weight *w, int rounds) {
  if (w->format == INT8 || (w->format != INT4 && w->in % 8)) return 0;
  return (!rounds || processor_has_vnni()) && blocks_of_row(w) <= MOST_BLOCKS;
}

static size_t arranged_bytes(const Weight *w, int rounds) { return groups_of(w) * (rounds ? 256 : 576); }

// A row of x as a group's lanes meet it: vector t has each word's element t; the ninth has their sums.
AVX512 static void arrange_floats(const Weight *w, const float *x, float *to) {
  const __m512i eighth = _mm512_mullo_epi32(_mm512_set1_epi32(8), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  for (int64_t first = 0; first < w->in; first += GROUP, to += 9 * 16) {
    __m512 sum = _mm512_setzero_ps();
    for (int t = 0; t < 8; t++) {
      int element = w->format == INT4 ? t : t ^ 1;
      __mmask16 some = first_lanes((w->in - first - element + 7) / 8);
      __m512 lanes = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), some, eighth, x + first + element, 4);
      _mm512_storeu_ps(to + 16 * t, lanes);
      sum = _mm512_add_ps(sum, lanes);
    }
    _mm512_storeu_ps(to + 128, sum);
  }
}

AVX512 static float largest(const float *x, int64_t count, float threshold) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512 limit = _mm512_set1_ps(threshold > 0 ? threshold : INFINITY);
  // By its bits: NaN has more than infinity.
  __m512i bits = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += 16) {
    __m512i one = _mm512_and_si512(_mm512_castps_si512(_mm512_maskz_loadu_ps(first_lanes(count - i), x + i)), magnitude);
    __mmask16 is_below = threshold > 0 ? _mm512_cmp_ps_mask(_mm512_castsi512_ps(one), limit, _CMP_NGE_UQ) : 0xffff;
    bits = _mm512_mask_max_epu32(bits, is_below, bits, one);
  }
  union { uint32_t bits; float number; } all = {_mm512_reduce_max_epu32(bits)};
  return all.number;
}

AVX512 ALWAYS_INLINE __m128i rounded(const float *x, __mmask16 some, float factor) {
  __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(some, x), _mm512_set1_ps(factor));
  scaled = _mm512_max_ps(_mm512_min_ps(scaled, _mm512_set1_ps(127.0f)), _mm512_set1_ps(-127.0f));
  return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
}

AVX512 static void round_all(const float *x, int64_t count, float factor, int8_t *to) {
  for (int64_t i = 0; i < count; i += 16) {
    __mmask16 some = first_lanes(count - i);
    _mm_mask_storeu_epi8(to + i, some, rounded(x + i, some, factor));
  }
}

// The same rounded: 64 bytes for the low halves, 64 for the high ones, what a lane's bytes are multiples of, and their sums.
AVX512 static void arrange_bytes(const Weight *w, const float *x, char *to) {
  const __m128i halves = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  float factor = 0, unit = 0;
  for (int64_t first = 0; first < w->in; first += GROUP, to += 256) {
    float *units = (float *)(to + 128), *sums = units + 16;
    memset(to, 0, 256);
    for (int64_t i = 0; i < least(GROUP, w->in - first); i += 16) {
      if (((first + i) & (w->block - 1)) == 0) {
        float most = largest(x + first + i, least(w->block, w->in - first - i), 0);
        factor = rounding_factor(most, SMALLEST_OF_BLOCK);
        unit = most * (1.0f / 127);
      }
      __m128i codes = rounded(x + first + i, first_lanes(w->in - first - i), factor);
      __m128i apart = _mm_shuffle_epi8(codes, halves);
      _mm_storel_epi64((__m128i *)(to + i / 2), apart);
      _mm_storel_epi64((__m128i *)(to + 64 + i / 2), _mm_srli_si128(apart, 8));
      // Sums of eight bytes without a sign.
      __m128i sum = _mm_sad_epu8(_mm_xor_si128(codes, _mm_set1_epi8(-128)), _mm_setzero_si128());
      units[i / 8] = units[i / 8 + 1] = unit;
      sums[i / 8] = (float)(_mm_cvtsi128_si32(sum) - 8 * 128);
      sums[i / 8 + 1] = (float)(_mm_extract_epi32(sum, 2) - 8 * 128);
    }
  }
}

static void arrange(const Weight *w, int rounds, const float *x, void *to) {
  if (rounds) arrange_bytes(w, x, to);
  else arrange_floats(w, x, to);
}

// Of all blocks of a row: what is added to a code, (8 - zero) of floats and -zero of bytes.
AVX512 ALWAYS_INLINE void shifts_of_blocks(const Weight *w, int64_t row, float from, float *to) {
  int64_t blocks = blocks_of_row(w);
  const uint8_t *zeros = w->zeros ? w->zeros + row * ((blocks + 1) / 2) : 0;
  const __m512i shifts = shifts_of(INT4);
  for (int64_t b = 0; b < blocks; b += 16) {
    __m512 zero = _mm512_set1_ps(8.0f);
    if (zeros) {
      __m512i codes = sixteen_codes(_mm_maskz_loadu_epi8(first_lanes((blocks - b + 1) / 2) & 0xff, zeros + b / 2), shifts);
      zero = _mm512_cvtepi32_ps(_mm512_and_si512(codes, _mm512_set1_epi32(15)));
    } else if (w->number_zeros) zero = _mm512_maskz_loadu_ps(first_lanes(blocks - b), w->number_zeros + row * blocks + b);
    _mm512_storeu_ps(to + b, _mm512_sub_ps(_mm512_set1_ps(from), zero));
  }
}

// Which block each lane of a group is in, from the first of the group on; and how many blocks there are in it.
AVX512 ALWAYS_INLINE __m512i blocks_of_lanes(int64_t element, int64_t block, int shift) {
  const __m512i eighth = _mm512_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120);
  return _mm512_srli_epi32(_mm512_add_epi32(eighth, _mm512_set1_epi32((int)(element & (block - 1)))), shift);
}

// `rows`, and whether zeros differ, are known where this is compiled.
AVX512 ALWAYS_INLINE void floats(const int rows, const int has_zeros, const Weight *w, const float *x, int64_t begin, int64_t end, float *y,
                                 int64_t stride) {
  const int64_t groups = groups_of(w), row_of_x = groups * 144, elements = elements_of_row(w);
  const int64_t of_row = blocks_of_row(w);
  const int shift = block_shift(w);
  const int is_even = elements % w->block == 0;
  __m512 levels = _mm512_loadu_ps(four_bit_levels[w->format]);
  if (w->format == INT4) levels = _mm512_sub_ps(levels, _mm512_set1_ps(8.0f));
  const __m512i even = blocks_of_lanes(0, w->block, shift);
  float zeros[has_zeros ? MOST_BLOCKS + 16 : 1];
  for (int64_t n = begin; n < end; n++) {
    const int64_t start = n * elements, last = (start + elements - 1) >> shift;
    const uint8_t *codes = w->codes + start / 2;
    __m512 sums[ROWS_AT_ONCE];
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) sums[m] = _mm512_setzero_ps();
    if (has_zeros) shifts_of_blocks(w, n, 8.0f, zeros);
    for (int64_t g = 0; g < groups; g++) {
      const int64_t element = start + g * GROUP, first = element >> shift;
      __m512i c = _mm512_maskz_loadu_epi32(first_lanes((elements - g * GROUP + 7) / 8), codes + 64 * g);
      _mm_prefetch((const char *)codes + 64 * g + 1024, _MM_HINT_T0);
      __m512i lanes = is_even ? even : blocks_of_lanes(element, w->block, shift);
      __m512 scale = _mm512_permutexvar_ps(lanes, _mm512_maskz_loadu_ps(first_lanes(last - first + 1), w->scales + first));
      __m512 v[8];
#pragma GCC unroll 8
      for (int t = 0; t < 8; t++) v[t] = _mm512_permutexvar_ps(t ? _mm512_srli_epi32(c, 4 * t) : c, levels);
      __m512 zero;
      if (has_zeros) zero = _mm512_permutexvar_ps(lanes, _mm512_loadu_ps(zeros + first - n * of_row));
#pragma GCC unroll 8
      for (int m = 0; m < rows; m++) {
        const float *from = x + m * row_of_x + g * 144;
        __m512 a = _mm512_mul_ps(v[0], _mm512_loadu_ps(from)), b = _mm512_mul_ps(v[1], _mm512_loadu_ps(from + 16));
        if (has_zeros) a = _mm512_fmadd_ps(zero, _mm512_loadu_ps(from + 128), a);
#pragma GCC unroll 8
        for (int t = 2; t < 8; t += 2) {
          a = _mm512_fmadd_ps(v[t], _mm512_loadu_ps(from + 16 * t), a);
          b = _mm512_fmadd_ps(v[t + 1], _mm512_loadu_ps(from + 16 * t + 16), b);
        }
        sums[m] = _mm512_fmadd_ps(_mm512_add_ps(a, b), scale, sums[m]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) y[m * stride + n] = _mm512_reduce_add_ps(sums[m]);
  }
}

VNNI ALWAYS_INLINE void bytes(const int rows, const int has_zeros, const Weight *w, const char *x, int64_t begin, int64_t end, float *y,
                              int64_t stride) {
  const int64_t groups = groups_of(w), row_of_x = groups * 256, elements = elements_of_row(w), of_row = blocks_of_row(w);
  const int shift = block_shift(w);
  const __m512i low = _mm512_set1_epi8(15), even = blocks_of_lanes(0, w->block, shift);
  float zeros[has_zeros ? MOST_BLOCKS + 16 : 1];
  for (int64_t n = begin; n < end; n++) {
    const int64_t start = n * elements, last = (start + elements - 1) >> shift;
    const uint8_t *codes = w->codes + start / 2;
    __m512 sums[ROWS_AT_ONCE];
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) sums[m] = _mm512_setzero_ps();
    if (has_zeros) shifts_of_blocks(w, n, 0.0f, zeros);
    for (int64_t g = 0; g < groups; g++) {
      const int64_t first = (start + g * GROUP) >> shift;
      __m512i c = _mm512_maskz_loadu_epi32(first_lanes((elements - g * GROUP + 7) / 8), codes + 64 * g);
      _mm_prefetch((const char *)codes + 64 * g + 1024, _MM_HINT_T0);
      __m512 scale = _mm512_permutexvar_ps(even, _mm512_maskz_loadu_ps(first_lanes(last - first + 1), w->scales + first));
      __m512 zero = _mm512_set1_ps(-8.0f);
      if (has_zeros) zero = _mm512_permutexvar_ps(even, _mm512_loadu_ps(zeros + first - n * of_row));
      __m512i evens = _mm512_and_si512(c, low), odds = _mm512_and_si512(_mm512_srli_epi32(c, 4), low);
#pragma GCC unroll 8
      for (int m = 0; m < rows; m++) {
        const char *from = x + m * row_of_x + g * 256;
        __m512i whole = _mm512_dpbusd_epi32(_mm512_setzero_si512(), evens, _mm512_loadu_si512(from));
        whole = _mm512_dpbusd_epi32(whole, odds, _mm512_loadu_si512(from + 64));
        __m512 product = _mm512_fmadd_ps(zero, _mm512_loadu_ps(from + 192), _mm512_cvtepi32_ps(whole));
        sums[m] = _mm512_fmadd_ps(product, _mm512_mul_ps(scale, _mm512_loadu_ps(from + 128)), sums[m]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) y[m * stride + n] = _mm512_reduce_add_ps(sums[m]);
  }
}

#define WITH_ROWS(rows)                                                                        \
  AVX512 static void floats_##rows(const Weight *w, const void *x, int64_t b, int64_t e, float *y, int64_t s) {  \
    if (w->zeros || w->number_zeros) floats(rows, 1, w, x, b, e, y, s);                        \
    else floats(rows, 0, w, x, b, e, y, s);                                                    \
  }                                                                                            \
  VNNI static void bytes_##rows(const Weight *w, const void *x, int64_t b, int64_t e, float *y, int64_t s) {     \
    if (w->zeros || w->number_zeros) bytes(rows, 1, w, x, b, e, y, s);                         \
    else bytes(rows, 0, w, x, b, e, y, s);                                                     \
  }
WITH_ROWS(1)
WITH_ROWS(2)
WITH_ROWS(4)
WITH_ROWS(8)

static void few(const Weight *w, int rounds, const void *arranged, int64_t rows, int64_t begin, int64_t end, float *y, int64_t stride) {
  typedef void (*Few)(const Weight *, const void *, int64_t, int64_t, float *, int64_t);
  static const Few of_floats[] = {floats_1, floats_2, floats_4, floats_8}, of_bytes[] = {bytes_1, bytes_2, bytes_4, bytes_8};
  size_t row_bytes = arranged_bytes(w, rounds);
  for (int64_t m = 0; m < rows;) {
    int power = rows - m >= 8 ? 3 : rows - m >= 4 ? 2 : rows - m >= 2 ? 1 : 0;
    (rounds ? of_bytes : of_floats)[power](w, (const char *)arranged + m * row_bytes, begin, end, y + m * stride, stride);
    m += (int64_t)1 << power;
  }
}

const QuantizedPath avx512_quantized = {unpack, panel, 32, has_few, arranged_bytes, arrange, few, dot};

enum { TILE_ROWS = 14, TILE_COLUMNS = 32 };

VNNI ALWAYS_INLINE void integer_tile_of(const int rows, const uint32_t *a, const uint32_t *b, int64_t words, int32_t *sums) {
  __m512i all[TILE_ROWS][2];
#pragma GCC unroll 14
  for (int i = 0; i < rows; i++) all[i][0] = all[i][1] = _mm512_setzero_si512();
  for (int64_t word = 0; word < words; word++, a += TILE_ROWS, b += TILE_COLUMNS) {
    __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + 16);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
      __m512i x = _mm512_set1_epi32(a[i]);
      all[i][0] = _mm512_dpbusd_epi32(all[i][0], b0, x);
      all[i][1] = _mm512_dpbusd_epi32(all[i][1], b1, x);
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < rows; i++) {
    _mm512_storeu_si512(sums + i * TILE_COLUMNS, all[i][0]);
    _mm512_storeu_si512(sums + i * TILE_COLUMNS + 16, all[i][1]);
  }
}

VNNI static void tile(const uint32_t *a, const uint32_t *b, int64_t words, int64_t rows, int32_t *sums) {
  if (rows > 8) integer_tile_of(14, a, b, words, sums);
  else if (rows > 4) integer_tile_of(8, a, b, words, sums);
  else if (rows > 1) integer_tile_of(4, a, b, words, sums);
  else integer_tile_of(1, a, b, words, sums);
}

// Four lines of 64 bytes, from `step` on, as 64 words of four: vector v has columns 16 i + 4 v … 16 i + 4 v + 3, for i up to 3.
AVX512 ALWAYS_INLINE void interleave(const uint8_t *codes, int64_t stride, int64_t step, int64_t steps, __mmask64 some, __m512i w[4]) {
  enum { LINES_AHEAD = 24 };
  const uint8_t *from = codes + step * stride;
  __m512i line[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    line[i] = step + i < steps ? _mm512_maskz_loadu_epi8(some, from + i * stride) : _mm512_setzero_si512();
    _mm_prefetch((const char *)from + (LINES_AHEAD + i) * stride, _MM_HINT_T0);
  }
  __m512i ab0 = _mm512_unpacklo_epi8(line[0], line[1]), ab1 = _mm512_unpackhi_epi8(line[0], line[1]);
  __m512i cd0 = _mm512_unpacklo_epi8(line[2], line[3]), cd1 = _mm512_unpackhi_epi8(line[2], line[3]);
  w[0] = _mm512_unpacklo_epi16(ab0, cd0);
  w[1] = _mm512_unpackhi_epi16(ab0, cd0);
  w[2] = _mm512_unpacklo_epi16(ab1, cd1);
  w[3] = _mm512_unpackhi_epi16(ab1, cd1);
}

// Such vectors in the order of columns.
AVX512 ALWAYS_INLINE void in_order(__m512i w[4]) {
  __m512i a = _mm512_shuffle_i32x4(w[0], w[1], 0x44), b = _mm512_shuffle_i32x4(w[0], w[1], 0xee);
  __m512i c = _mm512_shuffle_i32x4(w[2], w[3], 0x44), d = _mm512_shuffle_i32x4(w[2], w[3], 0xee);
  w[0] = _mm512_shuffle_i32x4(a, c, 0x88);
  w[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
  w[2] = _mm512_shuffle_i32x4(b, d, 0x88);
  w[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

AVX512 ALWAYS_INLINE __mmask64 first_bytes(int64_t count) { return count >= 64 ? ~0ull : count <= 0 ? 0 : (1ull << count) - 1; }

// Four lines through all panels, and then the next: memory is read in its order.
AVX512 static void pack(const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, uint32_t *panels) {
  const int64_t words = (steps + 3) / 4;
  for (int64_t step = 0; step < steps; step += 4, panels += TILE_COLUMNS) {
    uint32_t *to = panels;
    for (int64_t first = 0; first < count; first += 2 * TILE_COLUMNS, to += 2 * TILE_COLUMNS * words) {
      __m512i w[4];
      interleave(codes + first, stride, step, steps, first_bytes(count - first), w);
      in_order(w);
      _mm512_storeu_si512(to, w[0]);
      _mm512_storeu_si512(to + 16, w[1]);
      if (count - first <= TILE_COLUMNS) continue;
      _mm512_storeu_si512(to + TILE_COLUMNS * words, w[2]);
      _mm512_storeu_si512(to + TILE_COLUMNS * words + 16, w[3]);
    }
  }
}

// One row, in as many neighbouring columns as there are registers for their sums: memory is read in its order here too.
VNNI static void one_row(const uint32_t *a, const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, int32_t *sums) {
  __m512i all[4][4];
#pragma GCC unroll 4
  for (int g = 0; g < 4; g++) all[g][0] = all[g][1] = all[g][2] = all[g][3] = _mm512_setzero_si512();
  for (int64_t step = 0; step < steps; step += 4, a += TILE_ROWS) {
    __m512i x = _mm512_set1_epi32(*a);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
      __m512i w[4];
      interleave(codes + 64 * g, stride, step, steps, first_bytes(count - 64 * g), w);
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) all[g][v] = _mm512_dpbusd_epi32(all[g][v], w[v], x);
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < 4; g++) {
    in_order(all[g]);
    for (int v = 0; v < 4; v++) _mm512_storeu_si512(sums + 64 * g + 16 * v, all[g][v]);
  }
}

const IntegerTile vnni_integers = {TILE_ROWS, TILE_COLUMNS, tile, pack, one_row, largest, round_all};
#endif
