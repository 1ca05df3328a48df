// The operator `Product` of the domain `posttrain`: y = alpha * op(a) op(b) + addend, batched as ONNX's MatMul is. Attributes:
// transA, transB (of the last two axes), alpha, arithmetic (a position, see product.h). The addend has the shape of y.
#include "operator.h"
#include <stdlib.h>

OrtTable *api;

typedef struct {
  const Arithmetic *arithmetic;
  int64_t transpose_a, transpose_b;
  float alpha;
} Kernel;

OrtStatus *failure(const char *message) { return CALL(CREATE_STATUS, (int, const char *))(ORT_FAIL, message); }

// An attribute that is not there leaves its default.
void ignore(OrtStatus *status) {
  if (status) ((void(CALLED *)(OrtStatus *))api[RELEASE_STATUS])(status);
}

static OrtStatus *CALLED create(const OrtOperator *op, OrtTable *table, const OrtKernelInfo *info, void **made) {
  (void)op;
  (void)table;
  int64_t position = 0;
  Kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return failure("Product: no memory");
  kernel->alpha = 1.0f;
  ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, "transA", &kernel->transpose_a));
  ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, "transB", &kernel->transpose_b));
  ignore(CALL(GET_FLOAT_ATTRIBUTE, (const OrtKernelInfo *, const char *, float *))(info, "alpha", &kernel->alpha));
  ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, "arithmetic", &position));
  kernel->arithmetic = arithmetic_at((int)position);
  if (!kernel->arithmetic) {
    free(kernel);
    return failure("Product: this processor has not the arithmetic that the graph was written for");
  }
  *made = kernel;
  return 0;
}

OrtStatus *read_tensor(const OrtValue *value, Tensor *tensor) {
  OrtShape *shape;
  OrtStatus *status = CALL(GET_SHAPE, (const OrtValue *, OrtShape **))(value, &shape);
  if (status) return status;
  status = CALL(GET_DIMENSIONS_COUNT, (const OrtShape *, size_t *))(shape, &tensor->axes);
  if (!status && tensor->axes > MOST_AXES) status = failure("an operand has more than 12 axes");
  if (!status) status = CALL(GET_DIMENSIONS, (const OrtShape *, int64_t *, size_t))(shape, tensor->dims, tensor->axes);
  ((void(CALLED *)(OrtShape *))api[RELEASE_SHAPE])(shape);
  if (!status) status = CALL(GET_TENSOR_DATA, (const OrtValue *, void **))(value, (void **)&tensor->data);
  return status;
}

OrtStatus *read_inputs(OrtContext *context, Tensor *tensors, size_t most) {
  size_t given;
  OrtStatus *status = CALL(GET_INPUT_COUNT, (const OrtContext *, size_t *))(context, &given);
  for (size_t i = 0; !status && i < given && i < most; i++) {
    const OrtValue *value = 0;
    status = CALL(GET_INPUT, (const OrtContext *, size_t, const OrtValue **))(context, i, &value);
    if (!status && value) status = read_tensor(value, &tensors[i]);
  }
  return status;
}

void run_parallel(void *context, void (*work)(void *, size_t), size_t count, void *data) {
  typedef void (*Work)(void *, size_t);
  OrtStatus *status = count == 1 ? 0 : CALL(PARALLEL_FOR, (const OrtContext *, Work, size_t, size_t, void *))(context, work, count, 0, data);
  if (count > 1 && !status) return;
  ignore(status);
  one_after_the_other(context, work, count, data);
}

void one_after_the_other(void *context, void (*work)(void *, size_t), size_t count, void *data) {
  (void)context;
  for (size_t i = 0; i < count; i++) work(data, i);
}

// The batch axes of the result, and where each matrix of a side begins; a side of one matrix is used for all.
static int begin_matrices(const Tensor *side, size_t axes, const int64_t *dims, int64_t batch, ptrdiff_t *offsets) {
  ptrdiff_t strides[MOST_AXES], stride = side->dims[side->axes - 1] * side->dims[side->axes - 2];
  size_t missing = axes - (side->axes - 2);
  for (size_t axis = axes; axis-- > 0;) {
    int64_t size = axis < missing ? 1 : side->dims[axis - missing];
    if (size != 1 && size != dims[axis]) return 1;
    strides[axis] = size == 1 ? 0 : stride;
    stride *= size;
  }
  for (int64_t i = 0; i < batch; i++) {
    int64_t rest = i;
    offsets[i] = 0;
    for (size_t axis = axes; axis-- > 0; rest /= dims[axis]) offsets[i] += rest % dims[axis] * strides[axis];
  }
  return 0;
}

OrtStatus *output(OrtContext *context, size_t index, const int64_t *dims, size_t axes, float **data) {
  OrtValue *value;
  OrtStatus *status =
      CALL(GET_OUTPUT, (OrtContext *, size_t, const int64_t *, size_t, OrtValue **))(context, index, dims, axes, &value);
  return status ? status : CALL(GET_TENSOR_DATA, (const OrtValue *, void **))(value, (void **)data);
}

static OrtStatus *CALLED compute(void *data, OrtContext *context) {
  const Kernel *kernel = data;
  Tensor operands[3] = {0};
  OrtStatus *status = read_inputs(context, operands, 3);
  if (status) return status;
  const Tensor a = operands[0], b = operands[1], addend = operands[2];
  if (a.axes < 2 || b.axes < 2) return failure("Product: operands have 2 to 12 axes");

  Product p = {a.data, b.data, addend.data, 0, 0, 0, 0, kernel->transpose_a, kernel->transpose_b, kernel->alpha, 1, 0, 0};
  const int64_t *last_a = a.dims + a.axes - 2, *last_b = b.dims + b.axes - 2;
  p.m = last_a[p.transpose_a ? 1 : 0];
  p.k = last_a[p.transpose_a ? 0 : 1];
  p.n = last_b[p.transpose_b ? 0 : 1];
  if (last_b[p.transpose_b ? 1 : 0] != p.k) return failure("Product: the operands disagree about the axis that is summed over");
  int64_t dims[MOST_AXES];
  size_t axes = (a.axes > b.axes ? a.axes : b.axes) - 2;
  for (size_t axis = 0; axis < axes; axis++) {
    size_t no_a = axes - (a.axes - 2), no_b = axes - (b.axes - 2);
    int64_t of_a = axis < no_a ? 1 : a.dims[axis - no_a], of_b = axis < no_b ? 1 : b.dims[axis - no_b];
    dims[axis] = of_a == 1 ? of_b : of_a;
    p.batch *= dims[axis];
  }
  dims[axes] = p.m;
  dims[axes + 1] = p.n;
  status = output(context, 0, dims, axes + 2, &p.y);
  if (status) return status;
  if (p.batch * p.m * p.n == 0) return 0;
  if (p.k == 0) return failure("Product: a sum over nothing");
  ptrdiff_t *offsets = 0;
  if (b.axes == 2 && !p.transpose_a) {
    // One matrix on the right: all rows of the left are rows of one product.
    p.m *= p.batch;
    p.batch = 1;
  } else if (p.batch > 1) {
    offsets = malloc(2 * p.batch * sizeof *offsets);
    if (!offsets) return failure("Product: no memory");
    p.a_offsets = offsets;
    p.b_offsets = offsets + p.batch;
    if (begin_matrices(&a, axes, dims, p.batch, offsets) || begin_matrices(&b, axes, dims, p.batch, offsets + p.batch)) {
      free(offsets);
      return failure("Product: the batch axes do not fit");
    }
  }
  int failed = multiply(kernel->arithmetic, &p, run_parallel, context);
  free(offsets);
  return failed ? failure("Product: no memory for its packed operands") : 0;
}

void CALLED free_kernel(void *kernel) { free(kernel); }
static const char *CALLED name(const OrtOperator *op) {
  (void)op;
  return "Product";
}
const char *CALLED of_processor(const OrtOperator *op) {
  (void)op;
  return 0;
}
static size_t CALLED three(const OrtOperator *op) {
  (void)op;
  return 3;
}
static size_t CALLED one(const OrtOperator *op) {
  (void)op;
  return 1;
}
int CALLED all_floats(const OrtOperator *op, size_t index) {
  (void)op;
  (void)index;
  return ORT_FLOAT;
}
static int CALLED input_characteristic(const OrtOperator *op, size_t index) {
  (void)op;
  return index == 2 ? ORT_OPTIONAL : ORT_REQUIRED;
}
int CALLED all_required(const OrtOperator *op, size_t index) {
  (void)op;
  (void)index;
  return ORT_REQUIRED;
}
int CALLED default_memory(const OrtOperator *op, size_t index) {
  (void)op;
  (void)index;
  return ORT_DEFAULT_MEMORY;
}
int CALLED version_one(const OrtOperator *op) {
  (void)op;
  return 1;
}
// The addend's memory may become the result's: each tile reads it before it is written.
static size_t CALLED may_overwrite(int **inputs, int **outputs) {
  static int input = 2, result = 0;
  *inputs = &input;
  *outputs = &result;
  return 1;
}
static void CALLED keep(int *inputs, int *outputs) {
  (void)inputs;
  (void)outputs;
}

static const OrtOperator product_operator = {
    .version = OPERATOR_VERSION,
    .name = name,
    .provider = of_processor,
    .input_type = all_floats,
    .input_count = three,
    .output_type = all_floats,
    .output_count = one,
    .destroy = free_kernel,
    .input_characteristic = input_characteristic,
    .output_characteristic = all_required,
    .input_memory = default_memory,
    .create_kernel_2 = create,
    .compute_2 = compute,
    .first_version = version_one,
    .last_version = version_one,
    .may_overwrite = may_overwrite,
    .release_may_overwrite = keep,
};

// The version of what follows, and of the operator's attributes.
EXPORT int posttrain_kernels_version(void) { return 3; }

// The position of an arithmetic by name, for the attribute of a graph; -1 where this processor or this build has it not.
EXPORT int posttrain_arithmetic(const char *wanted) {
  for (int i = 0; i < ARITHMETICS; i++)
    if (arithmetic_at(i) && arithmetic_at(i) == arithmetic_named(wanted)) return i;
  return -1;
}

// The name of the fastest one.
EXPORT const char *posttrain_fastest_arithmetic(int bfloat16) { return fastest_arithmetic(bfloat16)->name; }

// The domain to add to the options of a session, from ONNX Runtime's table of functions; null where it is refused.
EXPORT OrtDomain *posttrain_domain(OrtTable *table) {
  static OrtDomain *domain;
  if (domain) return domain;
  api = table;
  OrtDomain *made;
  if (CALL(CREATE_CUSTOM_OP_DOMAIN, (const char *, OrtDomain **))("posttrain", &made)) return 0;
  const OrtOperator *const operators[] = {&product_operator, &quantized_operator, &chain_operator, &attention_operator,
                                          &attention_gradient_operator};
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (CALL(ADD_TO_CUSTOM_OP_DOMAIN, (OrtDomain *, const OrtOperator *))(made, operators[i])) return 0;
  return domain = made;
}

// The product itself, for tests and measurements, on one thread: 0, or 1 where it could not be done.
EXPORT int posttrain_multiply(const char *arithmetic, const float *a, const float *b, const float *addend, float *y, int m,
                              int n, int k, int transpose_a, int transpose_b, float alpha) {
  const Arithmetic *how = arithmetic_named(arithmetic);
  Product p = {a, b, addend, y, m, n, k, transpose_a, transpose_b, alpha, 1, 0, 0};
  return how ? multiply(how, &p, one_after_the_other, 0) : 1;
}
