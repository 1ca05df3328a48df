// The loops of chains, compiled once for each instruction set: LOOPS names them and FOR says what they may use. Compilers make vectors
// of them. Each element is computed the same way wherever it is, so that a row does not depend on its neighbours.
#include "chain.h"
#include <math.h>
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

#define EACH(expression) \
  for (long i = 0; i < count; i++) to[i] = (expression)
#define ALL_KINDS(expression)        \
  switch (kind) {                    \
    case 0:                          \
      for (long i = 0; i < count; i++) { \
        float x = a[i], y = b[i];    \
        to[i] = (expression);        \
      }                              \
      return;                        \
    case 1: {                        \
      float y = *b;                  \
      for (long i = 0; i < count; i++) { \
        float x = a[i];              \
        to[i] = (expression);        \
      }                              \
      return;                        \
    }                                \
    default: {                       \
      float x = *a;                  \
      for (long i = 0; i < count; i++) { \
        float y = b[i];              \
        to[i] = (expression);        \
      }                              \
    }                                \
  }                                  \
  return

FOR static void binary(int operation, int kind, const float *restrict a, const float *restrict b, float *restrict to, long count) {
  switch (operation) {
    case CHAIN_ADD:
      ALL_KINDS(x + y);
    case CHAIN_SUB:
      ALL_KINDS(x - y);
    case CHAIN_MUL:
      ALL_KINDS(x * y);
    case CHAIN_DIV:
      ALL_KINDS(x / y);
    case CHAIN_MAXIMUM:
      ALL_KINDS(x >= y || x != x ? x : y);
    default:
      ALL_KINDS(x <= y || x != x ? x : y);
  }
}

FOR static void unary(int operation, const float *restrict a, float *restrict to, long count) {
  switch (operation) {
    case CHAIN_NEG:
      EACH(-a[i]);
      return;
    case CHAIN_EXP:
      EACH(exp_of(a[i]));
      return;
    case CHAIN_LOG:
      EACH(logf(a[i]));
      return;
    case CHAIN_SQRT:
      EACH(sqrtf(a[i]));
      return;
    case CHAIN_RECIPROCAL:
      EACH(1.0f / a[i]);
      return;
    case CHAIN_SIGMOID:
      EACH(1.0f / (1.0f + exp_of(-a[i])));
      return;
    default:
      EACH(fabsf(a[i]));
  }
}

// Sixteen sums or maxima side by side, which are brought together at the end.
FOR static float reduce(int operation, const float *a, long count) {
  float part[16], first = operation == CHAIN_SUM ? 0.0f : -INFINITY;
  for (int j = 0; j < 16; j++) part[j] = first;
  long i = 0;
  if (operation == CHAIN_SUM) {
    for (; i + 16 <= count; i += 16)
      for (int j = 0; j < 16; j++) part[j] += a[i + j];
    for (; i < count; i++) part[i % 16] += a[i];
    for (int step = 8; step > 0; step /= 2)
      for (int j = 0; j < step; j++) part[j] += part[j + step];
    return part[0];
  }
  for (; i + 16 <= count; i += 16)
    for (int j = 0; j < 16; j++) part[j] = a[i + j] >= part[j] || a[i + j] != a[i + j] ? a[i + j] : part[j];
  for (; i < count; i++) part[i % 16] = a[i] >= part[i % 16] || a[i] != a[i] ? a[i] : part[i % 16];
  for (int j = 1; j < 16; j++) part[0] = part[j] >= part[0] || part[j] != part[j] ? part[j] : part[0];
  return part[0];
}

const ChainLoops LOOPS = {binary, unary, reduce};
