// The part of ONNX Runtime's C interface that is used here, declared by its stable ABI (https://onnxruntime.ai/docs/api/c): the
// positions of functions in its table, and the structure of a custom operator up to version 18 of the interface.
#ifndef POSTTRAIN_ONNXRUNTIME_H
#define POSTTRAIN_ONNXRUNTIME_H
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(_WIN64)
#define CALLED __stdcall
#else
#define CALLED
#endif

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtShape OrtShape;
typedef struct OrtContext OrtContext;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtDomain OrtDomain;
// The table of functions.
typedef void *const OrtTable;

enum { ORT_FAIL = 1, ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_REQUIRED = 0, ORT_OPTIONAL = 1, ORT_DEFAULT_MEMORY = 0 };

enum {
  CREATE_STATUS = 0,
  CREATE_CUSTOM_OP_DOMAIN = 26,
  ADD_TO_CUSTOM_OP_DOMAIN = 27,
  GET_TENSOR_DATA = 51,
  GET_DIMENSIONS_COUNT = 61,
  GET_DIMENSIONS = 62,
  GET_SHAPE = 65,
  GET_FLOAT_ATTRIBUTE = 85,
  GET_INT_ATTRIBUTE = 86,
  GET_INPUT_COUNT = 88,
  GET_INPUT = 90,
  GET_OUTPUT = 91,
  RELEASE_STATUS = 93,
  RELEASE_SHAPE = 99,
  PARALLEL_FOR = 274,
};

typedef struct OrtOperator OrtOperator;
struct OrtOperator {
  uint32_t version;
  void *(CALLED *create_kernel)(const OrtOperator *, OrtTable *, const OrtKernelInfo *);
  const char *(CALLED *name)(const OrtOperator *);
  const char *(CALLED *provider)(const OrtOperator *);
  int(CALLED *input_type)(const OrtOperator *, size_t);
  size_t(CALLED *input_count)(const OrtOperator *);
  int(CALLED *output_type)(const OrtOperator *, size_t);
  size_t(CALLED *output_count)(const OrtOperator *);
  void(CALLED *compute)(void *, OrtContext *);
  void(CALLED *destroy)(void *);
  int(CALLED *input_characteristic)(const OrtOperator *, size_t);
  int(CALLED *output_characteristic)(const OrtOperator *, size_t);
  int(CALLED *input_memory)(const OrtOperator *, size_t);
  // Since 14.
  int(CALLED *least_variadic_inputs)(const OrtOperator *);
  int(CALLED *alike_variadic_inputs)(const OrtOperator *);
  int(CALLED *least_variadic_outputs)(const OrtOperator *);
  int(CALLED *alike_variadic_outputs)(const OrtOperator *);
  // Since 16: the same with errors.
  OrtStatus *(CALLED *create_kernel_2)(const OrtOperator *, OrtTable *, const OrtKernelInfo *, void **);
  OrtStatus *(CALLED *compute_2)(void *, OrtContext *);
  // Since 17.
  OrtStatus *(CALLED *infer_shape)(const OrtOperator *, void *);
  int(CALLED *first_version)(const OrtOperator *);
  int(CALLED *last_version)(const OrtOperator *);
  // Since 18.
  size_t(CALLED *may_overwrite)(int **inputs, int **outputs);
  void(CALLED *release_may_overwrite)(int *inputs, int *outputs);
  size_t(CALLED *aliases)(int **inputs, int **outputs);
  void(CALLED *release_aliases)(int *inputs, int *outputs);
};
#endif
