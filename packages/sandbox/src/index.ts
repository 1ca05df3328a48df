export { type BubblewrapOptions, bubblewrap } from './bubblewrap/bubblewrap.js';
export { quickjs } from './quickjs/quickjs.js';
