export * from './device.js';
export type { DeviceMemoryUse } from './engines/onnxruntime/device-memory.js';
export {
  type OnnxruntimeEngine,
  type OnnxruntimeEngineOptions,
  onnxruntimeEngine,
} from './engines/onnxruntime/engine.js';
export type { GraphCacheUse } from './engines/onnxruntime/graph-cache.js';
export type { GraphCacheChoice } from './engines/onnxruntime/graph-cache-folder.js';
export type { NodeAssignment } from './engines/onnxruntime/native/session.js';
export type { OnnxruntimeDevice } from './engines/onnxruntime/providers.js';
