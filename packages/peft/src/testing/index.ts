export { type TestPeftMethodOptions, testPeftMethod } from './test-peft-method.js';
