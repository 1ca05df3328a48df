export { type TestPreferenceLossOptions, testPreferenceLoss } from './test-preference-loss.js';
export { tinyPolicy } from './tiny-model.js';
