export { type TestSandboxOptions, testSandbox } from './test-sandbox.js';
