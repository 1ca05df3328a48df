export { type BubblewrapOptions, bubblewrap } from './bubblewrap/bubblewrap.js';
