export type { KitHead } from './kit-model.js';
export { type TestLossOptions, testLoss } from './test-loss.js';
export { type TestUpdateRuleOptions, testUpdateRule } from './test-update-rule.js';
