// What the AVX-512 arithmetics share.
#include "product.h"
#ifdef POSTTRAIN_X86
#include <immintrin.h>
#define AVX512_FEATURES "avx512f,avx512bw,avx512vl,avx512dq"
#define AVX512 TARGET(AVX512_FEATURES)

// Register blocking: 14 x 2 sums, two vectors of b and one of a are 31 of the 32 registers.
enum { AVX512_ROWS = 14, AVX512_COLUMNS = 32 };

AVX512 static inline __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

// Transposes 16 x 16 words in place.
AVX512 static inline void transpose_words(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int half = 0; half < 16; half += 8)
    for (int i = 0; i < 4; i++) {
      t[half + i] = _mm512_shuffle_i32x4(r[half + i], r[half + 4 + i], 0x88);
      t[half + 4 + i] = _mm512_shuffle_i32x4(r[half + i], r[half + 4 + i], 0xdd);
    }
  for (int i = 0; i < 8; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
  }
}

// Writes the sums of a tile, with what is added to them. `rows` is known where this is compiled.
AVX512 static inline __attribute__((always_inline)) void store_sums(__m512 sums[AVX512_ROWS][2], const int rows,
                                                                    const TileWork *work) {
  __mmask16 left = first_lanes(work->n), right = first_lanes(work->n - 16);
  const float *src = work->src;
  float *dst = work->dst;
#pragma GCC unroll 14
  for (int i = 0; i < rows; i++) {
    if (i >= work->m) break;
    __m512 x = sums[i][0], y = sums[i][1];
    if (src) {
      x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(left, src + i * work->stride));
      y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(right, src + i * work->stride + 16));
    }
    _mm512_mask_storeu_ps(dst + i * work->stride, left, x);
    if (right) _mm512_mask_storeu_ps(dst + i * work->stride + 16, right, y);
  }
}
#endif
