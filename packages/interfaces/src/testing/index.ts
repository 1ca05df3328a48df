/** Suites that implementations of these interfaces pass, for any test runner. */
export type { Make, TestFunction } from './kit.js';
export {
  type TestEntailerOptions,
  type TestRowGradientsOptions,
  type TestVectorsOptions,
  testEmbedder,
  testEntailer,
  testRowFeatures,
  testRowGradients,
} from './test-embedder.js';
export { type TestGeneratorOptions, testGenerator } from './test-generator.js';
export { type AnyLedger, type TestLedgerOptions, testLedger } from './test-ledger.js';
export {
  type TestScorerOptions,
  type TestScorerTrainerOptions,
  testCandidateScorer,
  testScorer,
  testScorerTrainer,
} from './test-scorer.js';
