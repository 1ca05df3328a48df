/** Calls that run at the same time: how many, how long, and how all of them end when one fails. Needs no Node. */
export { allOrAbort, linkedController, sleep, withDeadline } from './abort.js';
export { createLimiter, type Limiter } from './limiter.js';
export { LONGEST_TIMER_MS } from './timer.js';
