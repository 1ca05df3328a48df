export * from './export-onnx.js';
export type { OnnxFunction, OnnxOperators, OnnxTensorInfo } from './trace-onnx.js';
