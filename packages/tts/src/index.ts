export type * from '@posttrain/interfaces';
export {
  type AnswerExtractor,
  type AnswerOptions,
  answersEqual,
  extractBoxed,
  extractFinalAnswer,
  markedAnswer,
  normalizeAnswer,
} from '@posttrain/interfaces/answers';
export { EstimatorError } from '@posttrain/interfaces/estimators';
export { type BestOfNOptions, bestOfN, bestOfNKl } from './best-of-n.js';
export type { Budget, BudgetLimit, Spending } from './budget.js';
export { type DrawnSample, type DrawnSamples, type DrawSamplesOptions, drawSamples } from './draw-samples.js';
export {
  ContractError,
  EndpointError,
  InvalidArgumentError,
  NoCandidateError,
  UnsupportedRequestError,
  VerifierFailedError,
  VerifierTimeoutError,
} from './errors.js';
export { type FunctionVerifierOptions, functionVerifier, type VerifierResult } from './function-verifier.js';
export { type MajorityVoteOptions, majorityVote } from './majority-vote.js';
export type { EndpointOptions } from './openai/endpoint.js';
export { type OpenAICompatibleOptions, openaiCompatible, type PrefixMode } from './openai/openai-compatible.js';
export { openaiCompatibleScorer } from './openai/openai-compatible-scorer.js';
export {
  type ProblemSamples,
  type ScalingCurveOptions,
  type ScalingRow,
  type ScalingSample,
  type ScalingStrategy,
  scalingCurve,
} from './scaling-curve.js';
export type { Problem, SearchResult, Strategy, StrategyOptions, VerifiedStrategyOptions, Vote } from './search.js';
export type { LabelledSample } from './subset-accuracy.js';
export { type CostRow, type Trace, type TraceNode, type TraceStatus, traceTable, traceToJson } from './trace.js';
export { traceToSvg } from './trace-svg.js';
export { type WeightedBestOfNOptions, weightedBestOfN } from './weighted-best-of-n.js';
