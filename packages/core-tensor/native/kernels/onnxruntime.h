// The part of ONNX Runtime's C interface that is used here, declared by its stable ABI (https://onnxruntime.ai/docs/api/c): the
// positions of functions in its table, and the structure of a custom operator up to version 18 of the interface. Behind each is
// its name there, by which scripts/kernels.test.ts compares it with another declaration of the interface.
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

enum { ORT_FAIL = 1, ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_INT32 = 6, ORT_REQUIRED = 0, ORT_OPTIONAL = 1, ORT_DEFAULT_MEMORY = 0 };

enum {
  CREATE_STATUS = 0,  // CreateStatus
  CREATE_CUSTOM_OP_DOMAIN = 26,  // CreateCustomOpDomain
  ADD_TO_CUSTOM_OP_DOMAIN = 27,  // CustomOpDomain_Add
  GET_TENSOR_DATA = 51,  // GetTensorMutableData
  GET_DIMENSIONS_COUNT = 61,  // GetDimensionsCount
  GET_DIMENSIONS = 62,  // GetDimensions
  GET_SHAPE = 65,  // GetTensorTypeAndShape
  GET_FLOAT_ATTRIBUTE = 85,  // KernelInfoGetAttribute_float
  GET_INT_ATTRIBUTE = 86,  // KernelInfoGetAttribute_int64
  GET_INPUT_COUNT = 88,  // KernelContext_GetInputCount
  GET_INPUT = 90,  // KernelContext_GetInput
  GET_OUTPUT = 91,  // KernelContext_GetOutput
  RELEASE_STATUS = 93,  // ReleaseStatus
  RELEASE_SHAPE = 99,  // ReleaseTensorTypeAndShapeInfo
  GET_FLOATS_ATTRIBUTE = 162,  // KernelInfoGetAttributeArray_float
  GET_INTS_ATTRIBUTE = 163,  // KernelInfoGetAttributeArray_int64
  PARALLEL_FOR = 274,  // KernelContext_ParallelFor
};

typedef struct OrtOperator OrtOperator;
struct OrtOperator {
  uint32_t version;  // version
  void *(CALLED *create_kernel)(const OrtOperator *, OrtTable *, const OrtKernelInfo *);  // CreateKernel
  const char *(CALLED *name)(const OrtOperator *);  // GetName
  const char *(CALLED *provider)(const OrtOperator *);  // GetExecutionProviderType
  int(CALLED *input_type)(const OrtOperator *, size_t);  // GetInputType
  size_t(CALLED *input_count)(const OrtOperator *);  // GetInputTypeCount
  int(CALLED *output_type)(const OrtOperator *, size_t);  // GetOutputType
  size_t(CALLED *output_count)(const OrtOperator *);  // GetOutputTypeCount
  void(CALLED *compute)(void *, OrtContext *);  // KernelCompute
  void(CALLED *destroy)(void *);  // KernelDestroy
  int(CALLED *input_characteristic)(const OrtOperator *, size_t);  // GetInputCharacteristic
  int(CALLED *output_characteristic)(const OrtOperator *, size_t);  // GetOutputCharacteristic
  int(CALLED *input_memory)(const OrtOperator *, size_t);  // GetInputMemoryType
  // Since 14.
  int(CALLED *least_variadic_inputs)(const OrtOperator *);  // GetVariadicInputMinArity
  int(CALLED *alike_variadic_inputs)(const OrtOperator *);  // GetVariadicInputHomogeneity
  int(CALLED *least_variadic_outputs)(const OrtOperator *);  // GetVariadicOutputMinArity
  int(CALLED *alike_variadic_outputs)(const OrtOperator *);  // GetVariadicOutputHomogeneity
  // Since 16: the same with errors.
  OrtStatus *(CALLED *create_kernel_2)(const OrtOperator *, OrtTable *, const OrtKernelInfo *, void **);  // CreateKernelV2
  OrtStatus *(CALLED *compute_2)(void *, OrtContext *);  // KernelComputeV2
  // Since 17.
  OrtStatus *(CALLED *infer_shape)(const OrtOperator *, void *);  // InferOutputShapeFn
  int(CALLED *first_version)(const OrtOperator *);  // GetStartVersion
  int(CALLED *last_version)(const OrtOperator *);  // GetEndVersion
  // Since 18.
  size_t(CALLED *may_overwrite)(int **inputs, int **outputs);  // GetMayInplace
  void(CALLED *release_may_overwrite)(int *inputs, int *outputs);  // ReleaseMayInplace
  size_t(CALLED *aliases)(int **inputs, int **outputs);  // GetAliasMap
  void(CALLED *release_aliases)(int *inputs, int *outputs);  // ReleaseAliasMap
};
#endif
