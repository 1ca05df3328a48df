// A program for processors that the tests do not run on, as under an emulator: every arithmetic that is there, against sums in
// float64, in all layouts, with and without an addend, in sizes around the edges of tiles and at random; attention and its gradient; a chain of
// operations; and more products at once than there is scratch memory that is kept. Prints a line for each arithmetic and ends with 0 where all are
// right; `check NAME` also wants that arithmetic to be there.
#include "../kernels/attention.h"
#include "../kernels/chain.h"
#include "../kernels/quantized.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int posttrain_arithmetic(const char *wanted);
const char *posttrain_fastest_arithmetic(int bfloat16);
int posttrain_multiply(const char *arithmetic, const float *a, const float *b, const float *addend, float *y, int m, int n, int k,
                       int transpose_a, int transpose_b, float alpha);

static uint32_t state = 12345;
static uint32_t next(void) { return state = state * 1664525u + 1013904223u; }
static int below(int limit) { return (int)((next() >> 8) % (uint32_t)limit); }
static float number(void) { return (float)((int)(next() >> 8) - (1 << 23)) / (1 << 23); }

// The largest difference, as a share of what is added up.
static double error_of(const char *name, int m, int n, int k, int flags) {
  int transpose_a = flags & 1, transpose_b = flags >> 1 & 1, has_addend = flags >> 2 & 1;
  float alpha = has_addend ? 0.5f : 1.0f;
  float *a = malloc(sizeof *a * m * k), *b = malloc(sizeof *b * k * n);
  float *addend = malloc(sizeof *addend * m * n), *y = malloc(sizeof *y * m * n);
  for (int i = 0; i < m * k; i++) a[i] = number();
  for (int i = 0; i < k * n; i++) b[i] = number();
  // What is not written must not be right by what was there.
  for (int i = 0; i < m * n; i++) addend[i] = number(), y[i] = NAN;
  double worst = posttrain_multiply(name, a, b, has_addend ? addend : 0, y, m, n, k, transpose_a, transpose_b, alpha) ? INFINITY : 0;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double sum = has_addend ? addend[i * n + j] : 0, size = fabs(sum);
      for (int l = 0; l < k; l++) {
        double term = (double)alpha * a[transpose_a ? l * m + i : i * k + l] * b[transpose_b ? j * k + l : l * n + j];
        sum += term;
        size += fabs(term);
      }
      double error = fabs(y[i * n + j] - sum) / (size + 1e-30);
      if (!(error <= worst)) worst = error;
    }
  free(a), free(b), free(addend), free(y);
  return worst;
}

static void one_after_the_other(void *context, void (*work)(void *, size_t), size_t count, void *data) {
  (void)context;
  for (size_t i = 0; i < count; i++) work(data, i);
}

// The largest difference of softmax(x) over rows, as a chain: the maximum, x less it, e to that, its sum, and the quotient.
static double error_of_chain(long rows, long columns) {
  Chain chain = {0};
  chain.rows = rows;
  chain.columns = columns;
  chain.inputs = chain.outputs = 1;
  chain.steps = 5;
  static const Step steps[] = {{CHAIN_MAX, 0, 0}, {CHAIN_SUB, 0, 1}, {CHAIN_EXP, 2, 0}, {CHAIN_SUM, 3, 0}, {CHAIN_DIV, 3, 4}};
  memcpy(chain.step, steps, sizeof steps);
  chain.result[0] = 5;
  float *x = malloc(sizeof *x * rows * columns), *y = malloc(sizeof *y * rows * columns);
  for (long i = 0; i < rows * columns; i++) x[i] = 20 * number(), y[i] = NAN;
  const float *inputs[] = {x};
  float *outputs[] = {y};
  double worst = prepare_chain(&chain) || run_chain(&chain, inputs, outputs, one_after_the_other, 0) ? INFINITY : 0;
  for (long row = 0; row < rows; row++) {
    double most = -INFINITY, sum = 0;
    for (long i = 0; i < columns; i++) most = fmax(most, x[row * columns + i]);
    for (long i = 0; i < columns; i++) sum += exp(x[row * columns + i] - most);
    for (long i = 0; i < columns; i++) {
      double wanted = exp(x[row * columns + i] - most) / sum, error = fabs(y[row * columns + i] - wanted) / wanted;
      if (!(error <= worst)) worst = error;
    }
  }
  free(x), free(y);
  return worst;
}

static float *numbers(int64_t count) {
  float *x = malloc(sizeof *x * (count ? count : 1));
  for (int64_t i = 0; i < count; i++) x[i] = number();
  return x;
}

static void compare(const float *got, const double *wanted, int64_t count, double *worst) {
  double size = 1e-30;
  for (int64_t i = 0; i < count; i++) size = fmax(size, fabs(wanted[i]));
  for (int64_t i = 0; i < count; i++) {
    double error = fabs(got[i] - wanted[i]) / size;
    if (!(error <= *worst)) *worst = error;
  }
}

// The largest difference of attention and of its gradient from the definition in float64, as a share of the largest number of each.
static double error_of_attention(const Arithmetic *how, Attention w) {
  const int64_t s = w.length, d = w.width, dv = w.value_width, group = w.heads / w.key_heads, rows = w.batch * w.heads * s, keys = w.batch * w.key_heads * s;
  float *q = numbers(rows * d), *k = numbers(keys * d), *v = numbers(keys * dv), *d_output = numbers(rows * dv), *d_log_sum = numbers(rows);
  float *output = numbers(rows * dv), *log_sum = numbers(rows), *d_q = numbers(rows * d), *d_k = numbers(keys * d), *d_v = numbers(keys * dv);
  double *o = calloc(rows * dv, sizeof *o), *l = calloc(rows, sizeof *l), *dq = calloc(rows * d, sizeof *dq), *dk = calloc(keys * d, sizeof *dk);
  double *dv_ = calloc(keys * dv, sizeof *dv_), *p = malloc(sizeof *p * s), worst = 0;
  w.q = q, w.k = k, w.v = v;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t i = r % s, head = r / s, batch = head / w.heads, first = (batch * w.key_heads + head % w.heads / group) * s;
    double most = w.sinks ? w.sinks[head % w.heads] : -INFINITY, sum = 0, centre = -d_log_sum[r];
    for (int64_t j = 0; j < s; j++) {
      int64_t far = i > j ? i - j : j - i;
      int is_seen = (!w.is_causal || j <= i) && (!w.window || far < w.window) && (!w.segments || w.segments[batch * s + i] == w.segments[batch * s + j]);
      p[j] = -INFINITY;
      if (!is_seen) continue;
      p[j] = 0;
      for (int64_t c = 0; c < d; c++) p[j] += (double)w.scale * q[r * d + c] * k[(first + j) * d + c];
      most = fmax(most, p[j]);
    }
    if (w.sinks) sum = exp(w.sinks[head % w.heads] - most);
    for (int64_t j = 0; j < s; j++) sum += exp(p[j] - most);
    l[r] = most + log(sum);
    for (int64_t j = 0; j < s; j++) {
      p[j] = exp(p[j] - l[r]);
      for (int64_t c = 0; c < dv; c++) {
        o[r * dv + c] += p[j] * v[(first + j) * dv + c];
        dv_[(first + j) * dv + c] += p[j] * d_output[r * dv + c];
      }
    }
    for (int64_t c = 0; c < dv; c++) centre += o[r * dv + c] * d_output[r * dv + c];
    for (int64_t j = 0; j < s; j++) {
      double of_p = 0;
      for (int64_t c = 0; c < dv; c++) of_p += (double)d_output[r * dv + c] * v[(first + j) * dv + c];
      double of_score = p[j] * (of_p - centre) * w.scale;
      for (int64_t c = 0; c < d; c++) {
        dq[r * d + c] += of_score * k[(first + j) * d + c];
        dk[(first + j) * d + c] += of_score * q[r * d + c];
      }
    }
  }
  AttentionGradient gradient = {output, log_sum, d_output, d_log_sum, d_q, d_k, d_v};
  if (attend(how, &w, output, log_sum, one_after_the_other, 0) || attend_backward(how, &w, &gradient, one_after_the_other, 0)) worst = INFINITY;
  compare(output, o, rows * dv, &worst), compare(log_sum, l, rows, &worst);
  compare(d_q, dq, rows * d, &worst), compare(d_k, dk, keys * d, &worst), compare(d_v, dv_, keys * dv, &worst);
  free(q), free(k), free(v), free(d_output), free(d_log_sum), free(output), free(log_sum), free(d_q), free(d_k), free(d_v);
  free(o), free(l), free(dq), free(dk), free(dv_), free(p);
  return worst;
}

static int attention_is_right(const Arithmetic *how) {
  static const int shapes[][6] = {{1, 1, 1, 1, 1, 1}, {2, 3, 1, 5, 4, 7}, {1, 4, 2, 97, 16, 16}, {2, 2, 2, 300, 33, 20}, {1, 4, 2, 193, 64, 64}, {1, 1, 1, 131, 256, 256}};
  double worst = 0;
  for (size_t at = 0; at < sizeof shapes / sizeof *shapes; at++)
    for (int kind = 0; kind < 8; kind++) {
      const int *n = shapes[at], is_causal = kind % 2, is_packed = kind / 2 % 2, window = kind < 4 ? 0 : is_packed ? 140 : 3;
      int32_t segments[2 * 300];
      float sinks[9];
      for (int i = 0; i < n[0] * n[3]; i++) segments[i] = i % n[3] / 40 % 3;
      for (int i = 0; i < n[1]; i++) sinks[i] = 2 * number();
      Attention what = {n[0], n[1], n[2], n[3], n[4], n[5], 0.7f, is_causal, window, is_packed ? segments : 0, is_packed ? sinks : 0, 0, 0, 0};
      double error = error_of_attention(how, what);
      if (!(error <= 1e-5)) printf("%s: attention %zu, kind %d is wrong by %g\n", how->name, at, kind, error);
      if (!(error <= worst)) worst = error;
    }
  printf("%s: attention, largest error %.1e\n", how->name, worst);
  return worst <= 1e-5;
}

// Products that begin while others are computed: so many hold scratch memory at once.
static int nested_product(int *depth);

static void nested(void *context, void (*work)(void *, size_t), size_t count, void *data) {
  int *depth = context;
  if (*depth > 0) *depth = nested_product(depth) ? -1 : 0;
  one_after_the_other(0, work, count, data);
}

// 0 where it is right, and all within it are.
static int nested_product(int *depth) {
  enum { OUT = 3, IN = 8, ROWS = 2 };
  uint8_t codes[IN * OUT];
  float scales[OUT], x[ROWS * IN], y[ROWS * OUT];
  memset(codes, 129, sizeof codes);
  for (int i = 0; i < OUT; i++) scales[i] = 127;
  for (int i = 0; i < ROWS * IN; i++) x[i] = 127;
  QuantizedProduct p = {{INT8, OUT, IN, 0, codes, scales, 0, 0}, x, y, ROWS, 0, 0, 0};
  int within = *depth - 1;
  int failed = multiply_quantized(&plain_arithmetic, &p, nested, &within) || within < 0;
  for (int i = 0; i < ROWS * OUT; i++) failed |= !(fabs(y[i] - 127 * IN) < 1e-2);
  return failed;
}

int main(int count, char **given) {
  static const char *const names[] = {"plain", "avx2", "avx512", "avx512bf16", "amx", "neon"};
  int failed = count > 1 && posttrain_arithmetic(given[1]) < 0;
  if (failed) printf("%s: not there, or its self-test failed\n", given[1]);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (posttrain_arithmetic(names[i]) != (int)i) continue;
    double tolerance = strcmp(names[i], "avx512bf16") && strcmp(names[i], "amx") ? 2e-6 : 0x1p-7, worst = 0;
    int cases = 0;
    static const int edges[][3] = {{1, 1, 1}, {8, 12, 4}, {9, 13, 5}, {14, 32, 16}, {33, 47, 65}, {2, 3, 1030}, {130, 400, 90}};
    for (int at = 0; at < 40; at++)
      for (int flags = 0; flags < 8; flags++, cases++) {
        int is_edge = at < (int)(sizeof edges / sizeof *edges);
        int m = is_edge ? edges[at][0] : 1 + below(40), n = is_edge ? edges[at][1] : 1 + below(60);
        int k = is_edge ? edges[at][2] : 1 + below(100);
        double error = error_of(names[i], m, n, k, flags);
        if (!(error <= tolerance)) {
          printf("%s: %d x %d x %d, layout %d is wrong by %g\n", names[i], m, n, k, flags, error);
          failed = 1;
        }
        if (error > worst) worst = error;
      }
    printf("%s: %d products, largest error %.1e\n", names[i], cases, worst);
    if (tolerance < 1e-3 && !attention_is_right(arithmetic_at((int)i))) failed = 1;
  }
  double worst = 0;
  for (long columns = 1; columns < 200; columns += 7) worst = fmax(worst, error_of_chain(3, columns));
  // What is subtracted is rounded: 2 ** -24 of 40.
  if (!(worst <= 4e-6)) failed = 1;
  printf("chains: largest error %.1e\n", worst);
  int depth = 30;
  if (nested_product(&depth)) {
    printf("products within products: wrong, or without memory\n");
    failed = 1;
  }
  printf("fastest: %s\n", posttrain_fastest_arithmetic(0));
  return failed;
}
