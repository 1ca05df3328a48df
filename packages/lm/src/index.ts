export * from './config/index.js';
export { InvalidModelFileError } from './files.js';
