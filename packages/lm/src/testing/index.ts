/** The suites that every proposer, every decode hook and every mix of models passes, for any test runner. */
export { type TestDecodeHookOptions, testDecodeHook } from './test-decode-hook.js';
export { type TestDecodingMixOptions, testDecodingMix } from './test-decoding-mix.js';
export { type TestProposerOptions, testProposer } from './test-proposer.js';
