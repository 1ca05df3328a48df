export { type TestGraderOptions, testGrader } from './test-grader.js';
export { type TestTaskKindOptions, testTaskKind } from './test-task-kind.js';
