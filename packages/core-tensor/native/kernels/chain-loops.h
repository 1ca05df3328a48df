// The loops of chains, compiled once for each instruction set: LOOPS names them and FOR says what they may use. Compilers make vectors
// of them. Each element is computed the same way wherever it is, so that a row does not depend on its neighbours.
#include "chain.h"
#include "exp.h"

#define EACH(expression) \
  for (int64_t i = 0; i < count; i++) to[i] = (expression)
#define ALL_KINDS(expression)        \
  switch (kind) {                    \
    case 0:                          \
      for (int64_t i = 0; i < count; i++) { \
        float x = a[i], y = b[i];    \
        to[i] = (expression);        \
      }                              \
      return;                        \
    case 1: {                        \
      float y = *b;                  \
      for (int64_t i = 0; i < count; i++) { \
        float x = a[i];              \
        to[i] = (expression);        \
      }                              \
      return;                        \
    }                                \
    default: {                       \
      float x = *a;                  \
      for (int64_t i = 0; i < count; i++) { \
        float y = b[i];              \
        to[i] = (expression);        \
      }                              \
    }                                \
  }                                  \
  return

FOR static void binary(int operation, int kind, const float *restrict a, const float *restrict b, float *restrict to, int64_t count) {
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

FOR static void unary(int operation, const float *restrict a, float *restrict to, int64_t count) {
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
FOR static float reduce(int operation, const float *a, int64_t count) {
  float part[16], first = operation == CHAIN_SUM ? 0.0f : -INFINITY;
  for (int j = 0; j < 16; j++) part[j] = first;
  int64_t i = 0;
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
