export * from '../kernels/int4-matmul.js';
export * from '../kernels/int8-matmul.js';
export * from '../kernels/nf4-matmul.js';
export {
  type AwqClipOptions,
  type AwqScaleOptions,
  awqClip,
  awqScales,
  type InputStatistics,
  type RoundToGridOptions,
  roundToGrid,
  scaleColumns,
} from './awq.js';
export { fromAwq, toAwq } from './awq-files.js';
export { BITSANDBYTES_SUFFIXES, type FileTensors, fromBitsandbytes, toBitsandbytes } from './bitsandbytes-files.js';
export { fromCompressedTensors, PACKED_SUFFIXES, toCompressedTensors } from './compressed-tensors-files.js';
export { type Fp8Format, fromFp8 } from './fp8-files.js';
export { type GptqOptions, type GptqResult, gptq } from './gptq.js';
export { fromGptq, toGptq } from './gptq-files.js';
export { GROUPED_SUFFIXES, type GroupedFormat } from './grouped-files.js';
export { type HqqOptions, type HqqResult, hqq } from './hqq.js';
export { dequantizeInt4, type QuantizeInt4Options, quantizeInt4 } from './int4.js';
export {
  dequantizeInt8,
  fromBitsandbytesInt8,
  type QuantizeInt8Options,
  quantizeInt8,
  toBitsandbytesInt8,
} from './int8.js';
export { type Hessian, layerHessian } from './inverse-factor.js';
export { fromMxfp4 } from './mxfp4-files.js';
export { dequantizeNf4, type QuantizeNf4Options, quantizeNf4 } from './nf4.js';
export { fromNvfp4 } from './nvfp4-files.js';
export { dequantized, quantizedMatmul, quantizedTensors } from './quantized-matmul.js';
export * from './quantized-weight.js';
export { type SmoothQuantOptions, smoothQuantScales } from './smooth-quant.js';
export { type SparseGptOptions, sparseGpt } from './sparse-gpt.js';
export { type Sparsity, sparsityShape } from './sparsity.js';
export { type WandaOptions, wanda } from './wanda.js';
