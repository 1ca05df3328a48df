export type { BadCall } from './bad-calls.js';
export { badCalls } from './bad-calls.js';
export type { CaseInput, ConformanceCase } from './case.js';
export { conformanceCases } from './cases.js';
export type { ConformanceSummary, Score } from './conformance-table.js';
export { conformanceTable, summarizeConformance } from './conformance-table.js';
export { onEngine } from './on-engine.js';
export type { EngineReport, TestEngineOptions, TestRunner } from './test-engine.js';
export { testEngine } from './test-engine.js';
