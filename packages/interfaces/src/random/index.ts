export { philox4x32 } from './philox.js';
export { createRandom, type Random } from './random.js';
export { threefry2x32 } from './threefry.js';
