export { encodeNumbers } from '../dtype.js';
export {
  DTypeConversionError,
  InvalidHeaderError,
  InvalidOffsetsError,
  InvalidTensorError,
  MissingShardError,
  MissingTensorError,
  TruncatedFileError,
  UnsupportedDTypeError,
} from './errors.js';
export type { ReadTensorOptions, SafetensorsFile, TensorSource } from './safetensors.js';
export { openSafetensors } from './safetensors.js';
export { openSafetensorsFolder } from './safetensors-folder.js';
export type { SafetensorsDType, SafetensorsHeader, TensorInfo } from './safetensors-header.js';
export { parseSafetensorsHeader } from './safetensors-header.js';
export type { SaveSafetensorsOptions, TensorToWrite, WriteSafetensorsOptions } from './safetensors-writer.js';
export {
  isShardSize,
  SHARD_SIZE,
  saveSafetensors,
  stageSafetensors,
  stageSafetensorsFolder,
  writeSafetensors,
} from './safetensors-writer.js';
export type { DTypeArray, DTypeArrays, TensorData } from './tensor-data.js';
