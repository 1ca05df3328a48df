// The operator `Chain` of the domain `posttrain`: operations on elements, in one pass (chain.h). Attributes, all but the last lists of
// whole numbers: `dims`, the shape of the full operands; `spreads`, how each input lies in it; `program`, three numbers a step;
// `results`, the values that are the outputs: the wide ones have that shape, the narrow ones 1 for its last axis; `constants`.
#include "chain.h"
#include "operator.h"
#include <stdlib.h>

typedef struct {
  Chain chain;
  int64_t dims[MOST_AXES];
  size_t axes;
} Kernel;

// A list of at most `most` numbers; a list that is not there has none.
static OrtStatus *read_ints(const OrtKernelInfo *info, const char *name, int64_t *to, size_t most, size_t *count) {
  typedef OrtStatus *(CALLED *Read)(const OrtKernelInfo *, const char *, int64_t *, size_t *);
  Read read = (Read)api[GET_INTS_ATTRIBUTE];
  *count = 0;
  OrtStatus *status = read(info, name, 0, count);
  if (status) return status;
  if (*count > most) return failure("Chain: a longer list than this version knows");
  return *count ? read(info, name, to, count) : 0;
}

static OrtStatus *read_chain(const OrtKernelInfo *info, Kernel *kernel) {
  Chain *chain = &kernel->chain;
  int64_t numbers[3 * MOST_STEPS];
  size_t count;
  OrtStatus *status = read_ints(info, "dims", kernel->dims, MOST_AXES, &kernel->axes);
  if (status) return status;
  if (kernel->axes == 0) return failure("Chain: needs an axis");
  chain->columns = kernel->dims[kernel->axes - 1];
  chain->rows = 1;
  for (size_t i = 0; i + 1 < kernel->axes; i++) chain->rows *= kernel->dims[i];
  if ((status = read_ints(info, "spreads", numbers, MOST_INPUTS, &count))) return status;
  chain->inputs = (int)count;
  for (size_t i = 0; i < count; i++) chain->spread[i] = (int)numbers[i];
  if ((status = read_ints(info, "program", numbers, 3 * MOST_STEPS, &count))) return status;
  chain->steps = (int)count / 3;
  for (int i = 0; i < chain->steps; i++) {
    Step step = {(int)numbers[3 * i], (int)numbers[3 * i + 1], (int)numbers[3 * i + 2]};
    chain->step[i] = step;
  }
  if ((status = read_ints(info, "results", numbers, MOST_OUTPUTS, &count))) return status;
  chain->outputs = (int)count;
  for (size_t i = 0; i < count; i++) chain->result[i] = (int)numbers[i];
  typedef OrtStatus *(CALLED *Read)(const OrtKernelInfo *, const char *, float *, size_t *);
  Read read = (Read)api[GET_FLOATS_ATTRIBUTE];
  count = 0;
  if ((status = read(info, "constants", 0, &count))) {
    ignore(status);
    count = 0;
  }
  if (count > MOST_CONSTANTS) return failure("Chain: more constants than this version knows");
  chain->constants = (int)count;
  if (count && (status = read(info, "constants", chain->constant, &count))) return status;
  return prepare_chain(chain) ? failure("Chain: not a program") : 0;
}

static OrtStatus *CALLED create(const OrtOperator *op, OrtTable *table, const OrtKernelInfo *info, void **made) {
  (void)op;
  (void)table;
  Kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return failure("Chain: no memory");
  OrtStatus *status = read_chain(info, kernel);
  if (status) free(kernel);
  else *made = kernel;
  return status;
}

static OrtStatus *CALLED compute(void *data, OrtContext *context) {
  const Kernel *kernel = data;
  const Chain *chain = &kernel->chain;
  const float *inputs[MOST_INPUTS] = {0};
  float *outputs[MOST_OUTPUTS] = {0};
  OrtStatus *status = 0;
  for (int i = 0; i < chain->inputs; i++) {
    const OrtValue *value;
    Tensor tensor;
    status = CALL(GET_INPUT, (const OrtContext *, size_t, const OrtValue **))(context, i, &value);
    if (!status) status = read_tensor(value, &tensor);
    if (status) return status;
    int64_t size = 1, spread = chain->spread[i];
    for (size_t axis = 0; axis < tensor.axes; axis++) size *= tensor.dims[axis];
    if (size != (spread == SPREAD_FULL     ? chain->rows * chain->columns
                 : spread == SPREAD_ROW    ? chain->rows
                 : spread == SPREAD_COLUMN ? chain->columns
                                           : 1))
      return failure("Chain: an input has another size than it was written for");
    inputs[i] = tensor.data;
  }
  int64_t dims[MOST_AXES];
  for (size_t axis = 0; axis < kernel->axes; axis++) dims[axis] = kernel->dims[axis];
  for (int i = 0; i < chain->outputs; i++) {
    dims[kernel->axes - 1] = chain->is_wide[chain->result[i]] ? chain->columns : 1;
    status = output(context, i, dims, kernel->axes, &outputs[i]);
    if (status) return status;
  }
  if (chain->rows * chain->columns == 0) return 0;
  return run_chain(chain, inputs, outputs, run_parallel, context) ? failure("Chain: no memory") : 0;
}

static const char *CALLED name(const OrtOperator *op) {
  (void)op;
  return "Chain";
}
static size_t CALLED input_count(const OrtOperator *op) {
  (void)op;
  return MOST_INPUTS;
}
static size_t CALLED output_count(const OrtOperator *op) {
  (void)op;
  return MOST_OUTPUTS;
}
static int CALLED characteristic(const OrtOperator *op, size_t index) {
  (void)op;
  return index == 0 ? ORT_REQUIRED : ORT_OPTIONAL;
}

const OrtOperator chain_operator = {
    .version = OPERATOR_VERSION,
    .name = name,
    .provider = of_processor,
    .input_type = all_floats,
    .input_count = input_count,
    .output_type = all_floats,
    .output_count = output_count,
    .destroy = free_kernel,
    .input_characteristic = characteristic,
    .output_characteristic = characteristic,
    .input_memory = default_memory,
    .create_kernel_2 = create,
    .compute_2 = compute,
    .first_version = version_one,
    .last_version = version_one,
};
