// Plain C over codes, which a compiler turns into the vectors of whatever it compiles for.
#include "quantized.h"
#define INLINED static inline __attribute__((always_inline))

INLINED void unpack_plainly(const Weight *w, int64_t row, int64_t first, int64_t count, float *to) {
  for (int64_t i = 0; i < count; i++) to[i] = unpacked_at(w, row, first + i);
}

INLINED float dot_plainly(const float *x, const float *y, int64_t count) {
  float sums[16] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int lane = 0; lane < 16; lane++) sums[lane] += x[i + lane] * y[i + lane];
  for (; i < count; i++) sums[0] += x[i] * y[i];
  for (int lane = 0; lane < 16; lane++) sum += sums[lane];
  return sum;
}

// By its bits: NaN has more than infinity.
INLINED float largest_plainly(const float *x, int64_t count, float threshold) {
  union { float number; uint32_t bits; } largest = {0};
  for (int64_t i = 0; i < count; i++) {
    union { float number; uint32_t bits; } one = {x[i]};
    one.bits &= 0x7fffffff;
    uint32_t bits = threshold > 0 && one.number >= threshold ? 0 : one.bits;
    largest.bits = bits > largest.bits ? bits : largest.bits;
  }
  return largest.number;
}

INLINED void round_plainly(const float *x, int64_t count, float factor, int8_t *to) {
  for (int64_t i = 0; i < count; i++) {
    float scaled = x[i] * factor;
    // What is no number is 0: it is one of a row or block whose unit says so.
    scaled = scaled > 127 ? 127 : scaled >= -127 ? scaled : scaled < -127 ? -127 : 0;
    // From 2^23 on floats are whole numbers.
    to[i] = (int8_t)(int32_t)((scaled + 12582912.0f) - 12582912.0f);
  }
}

// Columns of codes as panels of [word][column], four steps a word, zeros where there is nothing.
INLINED void pack_codes(const uint8_t *codes, int64_t stride, int64_t steps, int64_t count, int64_t width, uint32_t *panels) {
  for (int64_t first = 0; first < count; first += width)
    for (int64_t step = 0; step < steps; step += 4, panels += width) {
      uint8_t *to = (uint8_t *)panels;
      for (int64_t i = 0; i < 4 * width; i++) {
        int64_t line = step + i % 4, column = first + i / 4;
        to[i] = line < steps && column < count ? codes[line * stride + column] : 0;
      }
    }
}
