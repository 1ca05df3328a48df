// The operators `Attention` and `AttentionGradient` of the domain `posttrain` (attention.h). Attributes: scale, causal, window (0: none),
// arithmetic (a position, see product.h).
//   Attention: q, k, v, segments?, sinks? → output, log-sum-exp
//   AttentionGradient: q, k, v, output, log-sum-exp, d output, d log-sum-exp?, segments? → dq, dk, dv
#include "attention.h"
#include "operator.h"
#include <stdlib.h>

enum { Q, K, V, SEGMENTS, SINKS, INPUTS, OUTPUT = 3, LOG_SUM, D_OUTPUT, D_LOG_SUM, SEGMENTS_OF_GRADIENT, GRADIENT_INPUTS };

typedef struct {
  const Arithmetic *arithmetic;
  int64_t is_causal, window;
  float scale;
} Kernel;

static OrtStatus *CALLED create(const OrtOperator *op, OrtTable *table, const OrtKernelInfo *info, void **made) {
  (void)op;
  (void)table;
  int64_t position = 0;
  Kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return failure("Attention: no memory");
  ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, "causal", &kernel->is_causal));
  ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, "window", &kernel->window));
  ignore(CALL(GET_FLOAT_ATTRIBUTE, (const OrtKernelInfo *, const char *, float *))(info, "scale", &kernel->scale));
  ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, "arithmetic", &position));
  kernel->arithmetic = arithmetic_at((int)position);
  if (!kernel->arithmetic || kernel->arithmetic->steps_per_word != 1) {
    free(kernel);
    return failure("Attention: this processor has not the float32 arithmetic that the graph was written for");
  }
  *made = kernel;
  return 0;
}

// The operands that are there, and what q, k and v are.
static OrtStatus *read_operands(const Kernel *kernel, OrtContext *context, size_t most, Tensor *tensors, Attention *what) {
  OrtStatus *status = read_inputs(context, tensors, most);
  if (status) return status;
  const Tensor *q = &tensors[Q], *k = &tensors[K], *v = &tensors[V];
  if (q->axes != 4 || k->axes != 4 || v->axes != 4) return failure("Attention: q, k and v have 4 axes");
  int fits = q->dims[0] == k->dims[0] && q->dims[2] == k->dims[2] && q->dims[3] == k->dims[3] && k->dims[1] > 0 && q->dims[1] % k->dims[1] == 0;
  for (int axis = 0; axis < 3; axis++) fits = fits && k->dims[axis] == v->dims[axis];
  if (!fits) return failure("Attention: q, k and v do not fit");
  *what = (Attention){q->dims[0], q->dims[1], k->dims[1],   q->dims[2],  q->dims[3],       v->dims[3], kernel->scale,
                      kernel->is_causal != 0, kernel->window, 0, 0, q->data, k->data, v->data};
  return 0;
}

static OrtStatus *CALLED compute(void *data, OrtContext *context) {
  const Kernel *kernel = data;
  Tensor in[INPUTS] = {0};
  Attention what;
  OrtStatus *status = read_operands(kernel, context, INPUTS, in, &what);
  if (status) return status;
  what.segments = (const int32_t *)in[SEGMENTS].data;
  what.sinks = in[SINKS].data;
  const int64_t dims[4] = {what.batch, what.heads, what.length, what.value_width}, of_sums[4] = {what.batch, what.heads, what.length, 1};
  float *to, *log_sum;
  status = output(context, 0, dims, 4, &to);
  if (!status) status = output(context, 1, of_sums, 4, &log_sum);
  if (status || what.batch * what.heads * what.length == 0) return status;
  return attend(kernel->arithmetic, &what, to, log_sum, run_parallel, context) ? failure("Attention: no memory") : 0;
}

static OrtStatus *CALLED compute_gradient(void *data, OrtContext *context) {
  const Kernel *kernel = data;
  Tensor in[GRADIENT_INPUTS] = {0};
  Attention what;
  OrtStatus *status = read_operands(kernel, context, GRADIENT_INPUTS, in, &what);
  if (status) return status;
  what.segments = (const int32_t *)in[SEGMENTS_OF_GRADIENT].data;
  AttentionGradient gradient = {in[OUTPUT].data, in[LOG_SUM].data, in[D_OUTPUT].data, in[D_LOG_SUM].data, 0, 0, 0};
  status = output(context, 0, in[Q].dims, 4, &gradient.d_q);
  if (!status) status = output(context, 1, in[K].dims, 4, &gradient.d_k);
  if (!status) status = output(context, 2, in[V].dims, 4, &gradient.d_v);
  if (status || what.batch * what.heads * what.length == 0) return status;
  return attend_backward(kernel->arithmetic, &what, &gradient, run_parallel, context) ? failure("AttentionGradient: no memory") : 0;
}

static const char *CALLED name(const OrtOperator *op) {
  (void)op;
  return "Attention";
}
static const char *CALLED name_of_gradient(const OrtOperator *op) {
  (void)op;
  return "AttentionGradient";
}
static size_t CALLED input_count(const OrtOperator *op) {
  (void)op;
  return INPUTS;
}
static size_t CALLED input_count_of_gradient(const OrtOperator *op) {
  (void)op;
  return GRADIENT_INPUTS;
}
static size_t CALLED two(const OrtOperator *op) {
  (void)op;
  return 2;
}
static size_t CALLED three(const OrtOperator *op) {
  (void)op;
  return 3;
}
static int CALLED input_type(const OrtOperator *op, size_t index) {
  (void)op;
  return index == SEGMENTS ? ORT_INT32 : ORT_FLOAT;
}
static int CALLED input_type_of_gradient(const OrtOperator *op, size_t index) {
  (void)op;
  return index == SEGMENTS_OF_GRADIENT ? ORT_INT32 : ORT_FLOAT;
}
static int CALLED input_characteristic(const OrtOperator *op, size_t index) {
  (void)op;
  return index >= SEGMENTS ? ORT_OPTIONAL : ORT_REQUIRED;
}
static int CALLED input_characteristic_of_gradient(const OrtOperator *op, size_t index) {
  (void)op;
  return index >= D_LOG_SUM ? ORT_OPTIONAL : ORT_REQUIRED;
}

const OrtOperator attention_operator = {
    .version = OPERATOR_VERSION,
    .name = name,
    .provider = of_processor,
    .input_type = input_type,
    .input_count = input_count,
    .output_type = all_floats,
    .output_count = two,
    .destroy = free_kernel,
    .input_characteristic = input_characteristic,
    .output_characteristic = all_required,
    .input_memory = default_memory,
    .create_kernel_2 = create,
    .compute_2 = compute,
    .first_version = version_one,
    .last_version = version_one,
};

const OrtOperator attention_gradient_operator = {
    .version = OPERATOR_VERSION,
    .name = name_of_gradient,
    .provider = of_processor,
    .input_type = input_type_of_gradient,
    .input_count = input_count_of_gradient,
    .output_type = all_floats,
    .output_count = three,
    .destroy = free_kernel,
    .input_characteristic = input_characteristic_of_gradient,
    .output_characteristic = all_required,
    .input_memory = default_memory,
    .create_kernel_2 = create,
    .compute_2 = compute_gradient,
    .first_version = version_one,
    .last_version = version_one,
};
