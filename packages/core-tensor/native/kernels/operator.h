// What the operators share.
#ifndef POSTTRAIN_OPERATOR_H
#define POSTTRAIN_OPERATOR_H
#include "onnxruntime.h"
#include "product.h"

enum { OPERATOR_VERSION = 18, MOST_AXES = 12 };

extern OrtTable *api;

#define CALL(position, type) ((OrtStatus * (CALLED *)type) api[position])

typedef struct {
  float *data;
  int64_t dims[MOST_AXES];
  size_t axes;
} Tensor;

OrtStatus *failure(const char *message);
// An attribute that is not there leaves its default.
void ignore(OrtStatus *status);
OrtStatus *read_tensor(const OrtValue *value, Tensor *tensor);
// The operands that are there, `most` at most; those that are not stay as they are.
OrtStatus *read_inputs(OrtContext *context, Tensor *tensors, size_t most);
OrtStatus *output(OrtContext *context, size_t index, const int64_t *dims, size_t axes, float **data);
// A `ParallelFor` on the threads of the session, for a context of one of its kernels.
void run_parallel(void *context, void (*work)(void *, size_t), size_t count, void *data);
// The same on one thread, for tests and measurements.
void one_after_the_other(void *context, void (*work)(void *, size_t), size_t count, void *data);

// What all operators say of themselves: no state but the kernel's own, the processor, memory as it is, version 1.
void CALLED free_kernel(void *kernel);
const char *CALLED of_processor(const OrtOperator *op);
int CALLED default_memory(const OrtOperator *op, size_t index);
int CALLED version_one(const OrtOperator *op);
// What some have for all of their operands or results.
int CALLED all_floats(const OrtOperator *op, size_t index);
int CALLED all_required(const OrtOperator *op, size_t index);

extern const OrtOperator quantized_operator;
extern const OrtOperator chain_operator;
extern const OrtOperator attention_operator, attention_gradient_operator;
#endif
