export { type TestDataStepOptions, testDataStep } from './test-data-step.js';
