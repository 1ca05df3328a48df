export { mt19937 } from './mt19937.js';
export { philox4x32 } from './philox.js';
export { PythonRandom } from './python-random.js';
export { createRandom, type Random } from './random.js';
export { threefry2x32 } from './threefry.js';
