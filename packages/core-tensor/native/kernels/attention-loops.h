// The loops of attention, compiled once for each instruction set: LOOPS names them and FOR says what they may use.
#include "attention.h"
#include "exp.h"

enum { LANES = 16 };

FOR static float largest(const float *scores, int64_t count, float before) {
  float part[LANES];
  for (int j = 0; j < LANES; j++) part[j] = before;
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (int j = 0; j < LANES; j++) part[j] = scores[i + j] > part[j] ? scores[i + j] : part[j];
  for (; i < count; i++) part[0] = scores[i] > part[0] ? scores[i] : part[0];
  for (int step = LANES / 2; step > 0; step /= 2)
    for (int j = 0; j < step; j++) part[j] = part[j + step] > part[j] ? part[j + step] : part[j];
  return part[0];
}

FOR static inline __attribute__((always_inline)) float together(float part[LANES]) {
  for (int step = LANES / 2; step > 0; step /= 2)
    for (int j = 0; j < step; j++) part[j] += part[j + step];
  return part[0];
}

FOR static float exponentials(float *scores, int64_t count, float most) {
  float part[LANES] = {0};
  for (int64_t i = 0; i < count; i++) scores[i] = exp_of(scores[i] - most);
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (int j = 0; j < LANES; j++) part[j] += scores[i + j];
  for (; i < count; i++) part[0] += scores[i];
  return together(part);
}

FOR static void scale(float *x, int64_t count, float factor) {
  for (int64_t i = 0; i < count; i++) x[i] *= factor;
}

FOR static void gradient(float *restrict scores, float *restrict d, int64_t count, float log_sum, float centre, float factor) {
  for (int64_t i = 0; i < count; i++) {
    float p = exp_of(scores[i] - log_sum);
    scores[i] = p;
    d[i] = p * (d[i] - centre) * factor;
  }
}

FOR static float dot(const float *x, const float *y, int64_t count) {
  float part[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES)
    for (int j = 0; j < LANES; j++) part[j] += x[i + j] * y[i + j];
  for (; i < count; i++) part[0] += x[i] * y[i];
  return together(part);
}

const AttentionLoops LOOPS = {largest, exponentials, scale, gradient, dot};
