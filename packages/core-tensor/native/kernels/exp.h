// e^x for loops that compilers make vectors of. FOR says what instructions they may use.
#include <math.h>
#include <stdint.h>
#include <string.h>

// e^x, within 1.5 units of the last place: x = n ln 2 + r, and the series of e^r to the seventh power.
FOR static inline __attribute__((always_inline)) float exp_of(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, in the last bits.
  float inside = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
  float shifted = inside * 1.44269504f + magic, n = shifted - magic;
  float r = inside - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.0f / 5040;
  y = y * r + 1.0f / 720;
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  // 2^n in two factors, so that the smallest and the largest results are reached.
  int32_t bits, whole, half, rest;
  memcpy(&bits, &shifted, 4);
  whole = bits - 0x4b400000;
  half = whole >> 1;
  rest = whole - half;
  half = (half + 127) << 23;
  rest = (rest + 127) << 23;
  float f, g;
  memcpy(&f, &half, 4);
  memcpy(&g, &rest, 4);
  // What is no number stays so.
  return x != x ? x : y * f * g;
}
