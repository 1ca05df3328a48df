// Arm with Advanced SIMD, which every 64-bit Arm processor has: float32.
#include "product.h"
#ifdef POSTTRAIN_ARM64
#include <arm_neon.h>

// Register blocking: 8 x 3 sums, three vectors of b and two of a are 29 of the 32 registers.
enum { ROWS = 8, COLUMNS = 12, VECTORS = COLUMNS / 4 };

// Four lines of four steps, as four steps of four lines.
static inline void transpose_four(float32x4_t r[4]) {
  float32x4x2_t low = vtrnq_f32(r[0], r[1]), high = vtrnq_f32(r[2], r[3]);
  r[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
  r[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
  r[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
  r[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

static void pack(const Side *side, int64_t lines, int64_t width, int64_t steps, void *panel) {
  float *to = panel;
  const float scale = side->scale;
  // All panels are 8 or 12 lines wide.
  if (side->line_stride == 1 && lines == width) {
    for (int64_t k = 0; k < steps; k++, to += width) {
      const float *from = side->data + k * side->k_stride;
      for (int64_t i = 0; i < width; i += 4) vst1q_f32(to + i, vmulq_n_f32(vld1q_f32(from + i), scale));
    }
    return;
  }
  if (side->k_stride == 1 && lines == width) {
    int64_t whole = steps & ~3L;
    for (int64_t i = 0; i < width; i += 4) {
      const float *from = side->data + i * side->line_stride;
      for (int64_t k = 0; k < whole; k += 4) {
        float32x4_t r[4];
        for (int j = 0; j < 4; j++) r[j] = vmulq_n_f32(vld1q_f32(from + j * side->line_stride + k), scale);
        transpose_four(r);
        for (int j = 0; j < 4; j++) vst1q_f32(to + (k + j) * width + i, r[j]);
      }
      for (int64_t k = whole; k < steps; k++)
        for (int j = 0; j < 4; j++) to[k * width + i + j] = scale * from[j * side->line_stride + k];
    }
    return;
  }
  for (int64_t i = 0; i < width; i++)
    for (int64_t k = 0; k < steps; k++)
      to[k * width + i] = i < lines ? scale * side->data[i * side->line_stride + k * side->k_stride] : 0.0f;
}

static void tile(const TileWork *work) {
  const int64_t m = work->m, n = work->n;
  const float *a = work->a_panel, *b = work->b_panel, *src = work->src;
  float *dst = work->dst;
  float32x4_t sums[ROWS][VECTORS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) sums[i][j] = vdupq_n_f32(0);
  for (int64_t k = 0; k < work->words; k++, a += ROWS, b += COLUMNS) {
    float32x4_t low = vld1q_f32(a), high = vld1q_f32(a + 4);
#pragma GCC unroll 3
    for (int j = 0; j < VECTORS; j++) {
      float32x4_t right = vld1q_f32(b + 4 * j);
      sums[0][j] = vfmaq_laneq_f32(sums[0][j], right, low, 0);
      sums[1][j] = vfmaq_laneq_f32(sums[1][j], right, low, 1);
      sums[2][j] = vfmaq_laneq_f32(sums[2][j], right, low, 2);
      sums[3][j] = vfmaq_laneq_f32(sums[3][j], right, low, 3);
      sums[4][j] = vfmaq_laneq_f32(sums[4][j], right, high, 0);
      sums[5][j] = vfmaq_laneq_f32(sums[5][j], right, high, 1);
      sums[6][j] = vfmaq_laneq_f32(sums[6][j], right, high, 2);
      sums[7][j] = vfmaq_laneq_f32(sums[7][j], right, high, 3);
    }
  }
  if (m == ROWS && n == COLUMNS) {
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < VECTORS; j++) {
        int64_t at = i * work->stride + 4 * j;
        vst1q_f32(dst + at, src ? vaddq_f32(vld1q_f32(src + at), sums[i][j]) : sums[i][j]);
      }
    return;
  }
  float whole[ROWS][COLUMNS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) vst1q_f32(whole[i] + 4 * j, sums[i][j]);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++)
      dst[i * work->stride + j] = src ? src[i * work->stride + j] + whole[i][j] : whole[i][j];
}

const Arithmetic neon_arithmetic = {"neon", ROWS, COLUMNS, 1, 1, pack, pack, tile, 0};
#endif
