// Attention of a sequence to itself, in blocks (FlashAttention, arXiv 2205.14135; its gradient as in arXiv 2307.08691), over the tiles of
// `Product`: the scores of some rows and columns exist at a time. Definition: packages/core-tensor/src/kernels/flash-attention.ts.
#ifndef POSTTRAIN_ATTENTION_H
#define POSTTRAIN_ATTENTION_H
#include "product.h"

typedef struct {
  int64_t batch, heads, key_heads, length, width, value_width;
  float scale;
  int is_causal;           // position i sees j <= i only
  int64_t window;          // and only |i - j| < window; 0: no such limit
  const int32_t *segments; // [batch][length]: positions see those of the same segment only; null: all
  const float *sinks;      // [heads]: a logit that every row has besides its keys; null: none
  const float *q, *k, *v;  // [batch][heads or key_heads][length][width]
} Attention;

// output [batch][heads][length][value_width], and the log-sum-exp of the scores, one number a row. 0, or 1 where there was no memory.
int attend(const Arithmetic *how, const Attention *what, float *output, float *log_sum, ParallelFor parallel, void *context);

typedef struct {
  const float *output, *log_sum, *d_output;  // what `attend` gave, and the cotangent of it
  const float *d_log_sum;                    // may be null
  float *d_q, *d_k, *d_v;
} AttentionGradient;

int attend_backward(const Arithmetic *how, const Attention *what, const AttentionGradient *gradient, ParallelFor parallel, void *context);

// Loops over a row of scores, compiled once for each instruction set. Each element is computed the same way wherever it is.
typedef struct {
  // The largest of `before` and of what are numbers.
  float (*largest)(const float *scores, int64_t count, float before);
  // scores[i] = e^(scores[i] - largest), and their sum.
  float (*exponentials)(float *scores, int64_t count, float largest);
  void (*scale)(float *x, int64_t count, float factor);
  // scores[i] = p = e^(scores[i] - log_sum), d[i] = p (d[i] - centre) scale.
  void (*gradient)(float *scores, float *d, int64_t count, float log_sum, float centre, float scale);
  float (*dot)(const float *x, const float *y, int64_t count);
} AttentionLoops;
extern const AttentionLoops attention_loops_plain, attention_loops_avx2, attention_loops_avx512;
#endif
