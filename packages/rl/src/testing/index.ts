export { tinyPolicy } from './tiny-model.js';
