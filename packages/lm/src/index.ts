export * from './chat-template/index.js';
export * from './config/index.js';
export { InvalidModelFileError } from './files.js';
export * from './hub/index.js';
export * from './tokenizer/index.js';
