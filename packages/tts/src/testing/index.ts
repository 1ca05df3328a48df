/** The suite that every search strategy passes, for any test runner. */
export { type KitOptions, type TestStrategyOptions, testStrategy } from './test-strategy.js';
