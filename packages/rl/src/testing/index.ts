export { type TestAdvantageOptions, testAdvantage } from './test-advantage.js';
export { type TestAnnotatorOptions, testAnnotator } from './test-annotator.js';
export { type TestEnvironmentOptions, testEnvironment } from './test-environment.js';
export { type PolicyParts, type TestPolicyPartOptions, testPolicyPart } from './test-policy-part.js';
export { type TestPreferenceLossOptions, testPreferenceLoss } from './test-preference-loss.js';
export { type TestRolloutSourceOptions, testRolloutSource } from './test-rollout-source.js';
export { tinyPolicy } from './tiny-model.js';
