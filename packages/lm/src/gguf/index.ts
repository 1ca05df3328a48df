export { InvalidGgufError, UnsupportedGgufError } from './errors.js';
export { type GgufFile, type GgufTensorInfo, openGguf } from './gguf-file.js';
export { GgufWriteError } from './gguf-writer.js';
