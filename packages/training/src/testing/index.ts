export { type KitHead, kitModel } from './kit-model.js';
export { savedState } from './saved-state.js';
export { type TestLossOptions, testLoss } from './test-loss.js';
export { type TestPenaltyOptions, testPenalty } from './test-penalty.js';
export { type AnyRowSource, type TestRowSourceOptions, testRowSource } from './test-row-source.js';
export { type TestUpdateRuleOptions, testUpdateRule } from './test-update-rule.js';
