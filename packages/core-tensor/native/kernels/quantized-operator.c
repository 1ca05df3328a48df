// The operator `Quantized` of the domain `posttrain`, over a weight W [out, in] in codes. Inputs: codes, scales, zeros in bytes and zeros
// as numbers (both optional, of int4), x (left out: the result is W as floats). Attributes: arithmetic (a position, see product.h),
// format (quantized.h), in, out, block, transposed (y = x W instead of x Wᵀ), rounds, threshold; first, the row of the codes that W begins
// at (int4 only: W is some rows of a larger one).
#include "operator.h"
#include "quantized.h"
#include <stdlib.h>

typedef struct {
  const Arithmetic *arithmetic;
  int64_t format, in, out, block, transposed, rounds, first;
  float threshold;
} Kernel;

enum { CODES, SCALES, ZEROS, NUMBER_ZEROS, X, INPUTS };

static OrtStatus *CALLED create(const OrtOperator *op, OrtTable *table, const OrtKernelInfo *info, void **made) {
  (void)op;
  (void)table;
  Kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return failure("Quantized: no memory");
  int64_t position = 0;
  const struct {
    const char *name;
    int64_t *value;
  } whole[] = {{"arithmetic", &position},       {"format", &kernel->format},   {"in", &kernel->in},      {"out", &kernel->out},
               {"block", &kernel->block},       {"rounds", &kernel->rounds},   {"first", &kernel->first},
               {"transposed", &kernel->transposed}};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    ignore(CALL(GET_INT_ATTRIBUTE, (const OrtKernelInfo *, const char *, int64_t *))(info, whole[i].name, whole[i].value));
  ignore(CALL(GET_FLOAT_ATTRIBUTE, (const OrtKernelInfo *, const char *, float *))(info, "threshold", &kernel->threshold));
  kernel->arithmetic = arithmetic_at((int)position);
  const char *problem = 0;
  if (!kernel->arithmetic) problem = "Quantized: this processor has not the arithmetic that the graph was written for";
  else if (kernel->format < 0 || kernel->format >= FORMATS) problem = "Quantized: an unknown format";
  else if (kernel->format != INT8 && (kernel->block < 16 || (kernel->block & (kernel->block - 1))))
    problem = "Quantized: blocks are of 16, 32, 64 … elements";
  if (problem) {
    free(kernel);
    return failure(problem);
  }
  *made = kernel;
  return 0;
}

static int64_t size_of(const Tensor *tensor) {
  int64_t size = 1;
  for (size_t axis = 0; axis < tensor->axes; axis++) size *= tensor->dims[axis];
  return size;
}

// Whether the parts hold the weight.
static const char *misfit(const Kernel *kernel, const Weight *w, const Tensor *parts) {
  int64_t end = kernel->first + w->out;
  if (w->format == INT8)
    return size_of(&parts[CODES]) == w->out * w->in && size_of(&parts[SCALES]) == w->out ? 0 : "Quantized: the parts do not fit a weight of 8 bits";
  int64_t elements = w->format == INT4 ? end * elements_of_row(w) : w->out * w->in;
  int fits = size_of(&parts[CODES]) >= (elements + 1) / 2 && size_of(&parts[SCALES]) >= (elements + w->block - 1) / w->block;
  if (parts[ZEROS].data) fits &= size_of(&parts[ZEROS]) >= end * ((blocks_of_row(w) + 1) / 2);
  if (parts[NUMBER_ZEROS].data) fits &= size_of(&parts[NUMBER_ZEROS]) >= end * blocks_of_row(w);
  return fits ? 0 : "Quantized: the parts do not fit a weight of 4 bits";
}

static OrtStatus *CALLED compute(void *data, OrtContext *context) {
  const Kernel *kernel = data;
  Tensor parts[INPUTS] = {0};
  OrtStatus *status = read_inputs(context, parts, INPUTS);
  if (status) return status;
  QuantizedProduct p = {.weight = {kernel->format, kernel->out, kernel->in, kernel->block, (uint8_t *)parts[CODES].data,
                                   parts[SCALES].data, (uint8_t *)parts[ZEROS].data, parts[NUMBER_ZEROS].data},
                        .is_transposed = kernel->transposed,
                        .rounds = kernel->rounds,
                        .threshold = kernel->threshold};
  Weight *w = &p.weight;
  const char *problem = misfit(kernel, w, parts);
  if (problem) return failure(problem);
  if (kernel->first) {
    int64_t blocks = blocks_of_row(w);
    w->codes += kernel->first * blocks * w->block / 2;
    w->scales += kernel->first * blocks;
    if (w->zeros) w->zeros += kernel->first * ((blocks + 1) / 2);
    if (w->number_zeros) w->number_zeros += kernel->first * blocks;
  }
  if (!parts[X].axes) {
    int64_t dims[2] = {w->format == INT8 ? w->in : w->out, w->format == INT8 ? w->out : w->in};
    float *to;
    status = output(context, 0, dims, 2, &to);
    if (!status) unpack_quantized(kernel->arithmetic, w, to, run_parallel, context);
    return status;
  }
  Tensor *x = &parts[X];
  int64_t width = p.is_transposed ? w->out : w->in;
  if (x->dims[x->axes - 1] != width) return failure("Quantized: x and the weight disagree about the axis that is summed over");
  if (width == 0) return failure("Quantized: a sum over nothing");
  p.rows = size_of(x) / width;
  p.x = x->data;
  x->dims[x->axes - 1] = p.is_transposed ? w->in : w->out;
  status = output(context, 0, x->dims, x->axes, &p.y);
  if (status || size_of(x) == 0) return status;
  return multiply_quantized(kernel->arithmetic, &p, run_parallel, context) ? failure("Quantized: no memory") : 0;
}

static const char *CALLED name(const OrtOperator *op) {
  (void)op;
  return "Quantized";
}
static size_t CALLED input_count(const OrtOperator *op) {
  (void)op;
  return INPUTS;
}
static size_t CALLED output_count(const OrtOperator *op) {
  (void)op;
  return 1;
}
static int CALLED input_type(const OrtOperator *op, size_t index) {
  (void)op;
  return index == CODES || index == ZEROS ? ORT_UINT8 : ORT_FLOAT;
}
static int CALLED input_characteristic(const OrtOperator *op, size_t index) {
  (void)op;
  return index >= ZEROS ? ORT_OPTIONAL : ORT_REQUIRED;
}

const OrtOperator quantized_operator = {
    .version = OPERATOR_VERSION,
    .name = name,
    .provider = of_processor,
    .input_type = input_type,
    .input_count = input_count,
    .output_type = all_floats,
    .output_count = output_count,
    .destroy = free_kernel,
    .input_characteristic = input_characteristic,
    .output_characteristic = all_required,
    .input_memory = default_memory,
    .create_kernel_2 = create,
    .compute_2 = compute,
    .first_version = version_one,
    .last_version = version_one,
};

// The product itself, for tests and measurements, on one thread: 0, or 1 where it could not be done.
EXPORT int posttrain_multiply_quantized(const char *arithmetic, int format, int out, int in, int block, const uint8_t *codes,
                                        const float *scales, const uint8_t *zeros, const float *number_zeros, const float *x,
                                        float *y, int rows, int transposed, int rounds, float threshold) {
  const Arithmetic *how = arithmetic_named(arithmetic);
  QuantizedProduct p = {{format, out, in, block, codes, scales, zeros, number_zeros}, x, y, rows, transposed, rounds, threshold};
  return how ? multiply_quantized(how, &p, one_after_the_other, 0) : 1;
}
