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
export {
  type FunctionVerifierOptions,
  functionVerifier,
  VerifierFailedError,
  type VerifierResult,
  VerifierTimeoutError,
} from '@posttrain/interfaces/verifiers';
export { type AllocateCompletionsOptions, allocateCompletions } from './adaptive-allocation.js';
export {
  type ActionThought,
  type CoatOptions,
  coat,
  formatCoat,
  type MetaAction,
  type MetaActions,
  parseCoat,
  SATORI_ACTIONS,
} from './agents/coat.js';
export { lastAction, type Tool, type ToolCall } from './agents/episodes.js';
export { type ReactOptions, react } from './agents/react.js';
export { type ReflexionOptions, reflexion } from './agents/reflexion.js';
export type { Budget, BudgetLimit, Spending } from './budget.js';
export { candidateGenerator } from './candidate-generator.js';
export type { Winner } from './choosing.js';
export { ContractError, InvalidArgumentError, NoCandidateError } from './errors.js';
export { type JuryOptions, jury } from './jury.js';
export {
  type CalibratedThreshold,
  type LearnThenTestOptions,
  learnThenTest,
  type TestedThreshold,
} from './learn-then-test.js';
export { type Overthinking, overthinking, type SolutionRound } from './overthinking.js';
export {
  type GepaCandidate,
  type GepaOptions,
  type GepaResult,
  gepa,
  type PromptCall,
  type PromptInstance,
  type PromptProgram,
} from './prompt-optimization/gepa.js';
export { paretoFrequencies } from './prompt-optimization/pareto-front.js';
export type { ReflectionRecord, ReflectionRequest } from './prompt-optimization/reflection.js';
export {
  type Lineage,
  mergeAncestors,
  type PromptCandidate,
  systemAwareMerge,
} from './prompt-optimization/system-aware-merge.js';
export { type ResumedSearch, resumeSearch } from './resume.js';
export { type Bm25Options, bm25 } from './retrieval/bm25.js';
export { type RagOptions, rag } from './retrieval/rag.js';
export { denseRetriever, type Passage, type RankedPassage, type Retriever, recallAt } from './retrieval/retriever.js';
export { relevanceScore, type SelfRagOptions, selfRag, supportScore, utilityScore } from './retrieval/self-rag.js';
export { Search } from './search.js';
export type { Candidate, NodeState, SearchNode } from './search-node.js';
export {
  type Problem,
  type SearchOptions,
  type StrategyOptions,
  strategyOptions,
  type VerifiedStrategyOptions,
  verifierOption,
} from './search-options.js';
export type { Draw, Expansion, Finish, Remaining, SearchResult, Strategy, Vote } from './search-types.js';
export type { StepAggregation } from './step-score.js';
export {
  type AdaptiveConsistencyOptions,
  adaptiveConsistency,
  betaConfidence,
} from './strategies/adaptive-consistency.js';
export { type AlphaLlmOptions, alphaLlm, importanceWidth } from './strategies/alpha-llm.js';
export { type AutoCotOptions, autoCot } from './strategies/auto-cot.js';
export { type BestOfNOptions, bestOfN, bestOfNKl } from './strategies/best-of-n.js';
export {
  type BlockwiseControlledDecodingOptions,
  blockwiseControlledDecoding,
} from './strategies/blockwise-controlled-decoding.js';
export { type BudgetForcingOptions, budgetForcing } from './strategies/budget-forcing.js';
export {
  type ChainOfThoughtOptions,
  chainOfThought,
  type Demonstration,
  demonstrationPrompt,
  mostComplex,
  reasoningSteps,
} from './strategies/chain-of-thought.js';
export { type ChainOfVerificationOptions, chainOfVerification } from './strategies/chain-of-verification.js';
export { type ComplexityBasedOptions, complexityBased } from './strategies/complexity-based.js';
export {
  type ConfidenceInformedSelfConsistencyOptions,
  confidenceInformedSelfConsistency,
} from './strategies/confidence-informed-self-consistency.js';
export { type ConfidenceSamplingOptions, confidenceSampling } from './strategies/confidence-sampling.js';
export {
  type ConfidenceTreeSearchOptions,
  type ConfidenceTreeSearchResult,
  confidenceTreeSearch,
} from './strategies/confidence-tree-search.js';
export { type CotDecodingOptions, cotDecoding } from './strategies/cot-decoding.js';
export { type DebateOptions, debate } from './strategies/debate.js';
export {
  type DeepConfOptions,
  deepConf,
  groupConfidences,
  type TraceConfidence,
  tokenConfidences,
  traceConfidence,
} from './strategies/deep-conf.js';
export { type DeepConfOnlineOptions, deepConfOnline } from './strategies/deep-conf-online.js';
export { type DeerOptions, deer } from './strategies/deer.js';
export {
  type DiverseVerifierTreeSearchOptions,
  diverseVerifierTreeSearch,
} from './strategies/diverse-verifier-tree-search.js';
export {
  type EarlyStoppingSelfConsistencyOptions,
  earlyStoppingSelfConsistency,
} from './strategies/early-stopping-self-consistency.js';
export { type ForestOfThoughtOptions, forestOfThought } from './strategies/forest-of-thought.js';
export { type GenSelectOptions, genSelect } from './strategies/gen-select.js';
export { type GraphOfThoughtsOptions, graphOfThoughts } from './strategies/graph-of-thoughts.js';
export { type KnockoutTournamentOptions, knockoutTournament } from './strategies/knockout-tournament.js';
export { type LatsOptions, lats } from './strategies/lats.js';
export { type AnsweredQuestion, type LeastToMostOptions, leastToMost } from './strategies/least-to-most.js';
export { type LengthControlOptions, lengthControl, lengthError } from './strategies/length-control.js';
export { type LiteSearchNode, type LiteSearchOptions, liteSearch, liteSearchBudget } from './strategies/lite-search.js';
export { type MajorityVoteOptions, majorityVote } from './strategies/majority-vote.js';
export { type MctSelfRefineOptions, mctSelfRefine, selfRewardQ } from './strategies/mct-self-refine.js';
export { type MctsOptions, mcts } from './strategies/mcts.js';
export {
  type MinimumBayesRiskOptions,
  minimumBayesRisk,
  type TextUtility,
} from './strategies/minimum-bayes-risk.js';
export {
  type MultiAgentTreeOfThoughtsOptions,
  multiAgentTreeOfThoughts,
} from './strategies/multi-agent-tree-of-thoughts.js';
export { type MurOptions, mur } from './strategies/mur.js';
export {
  annealingTemperature,
  effectiveSampleSize,
  type ParticleFilteringOptions,
  particleFiltering,
  particleLogWeight,
} from './strategies/particle-filtering.js';
export { type ProgramAidedOptions, programAided } from './strategies/program-aided.js';
export { explorationQ, type QGuidedOptions, type QValue, qGuided } from './strategies/q-guided.js';
export { type RStarAction, type RStarOptions, type RStarPrompts, type RStarState, rStar } from './strategies/r-star.js';
export { type RebaseOptions, rebase, rebaseWidths } from './strategies/rebase.js';
export {
  type RecursiveSelfAggregationOptions,
  recursiveSelfAggregation,
} from './strategies/recursive-self-aggregation.js';
export { type RegularizedBestOfNOptions, regularizedBestOfN } from './strategies/regularized-best-of-n.js';
export { type RestMctsOptions, restMcts, restStepValue } from './strategies/rest-mcts.js';
export { jensenShannon, type RewardWeights, type ScMctsOptions, scMcts } from './strategies/sc-mcts.js';
export { type SelfCertaintyOptions, selfCertainty } from './strategies/self-certainty.js';
export { type SelfPolishOptions, selfPolish } from './strategies/self-polish.js';
export { type CritiquedDraft, type SelfRefineOptions, selfRefine } from './strategies/self-refine.js';
export { type SequentialRevisionOptions, sequentialRevision } from './strategies/sequential-revision.js';
export { type SkeletonOfThoughtOptions, skeletonOfThought } from './strategies/skeleton-of-thought.js';
export { type SoftBestOfNOptions, softBestOfN } from './strategies/soft-best-of-n.js';
export { type SpeculativeRejectionOptions, speculativeRejection } from './strategies/speculative-rejection.js';
export { type StepBeamSearchOptions, stepBeamSearch } from './strategies/step-beam-search.js';
export {
  type Receipt,
  type ReceiptDemonstration,
  type SuperContextOptions,
  type SuperContextParts,
  type SuperContextResult,
  superContext,
} from './strategies/super-context.js';
export { type SwissTournamentOptions, swissTournament } from './strategies/swiss-tournament.js';
export { type TreeBonOptions, treeBon, treeBonReward } from './strategies/tree-bon.js';
export { type TreeOfThoughtsOptions, treeOfThoughts } from './strategies/tree-of-thoughts.js';
export {
  type UniversalSelfConsistencyOptions,
  universalSelfConsistency,
} from './strategies/universal-self-consistency.js';
export { type WeightedBestOfNOptions, weightedBestOfN } from './strategies/weighted-best-of-n.js';
export { reasoningTriggers, type ZeroShotCotOptions, zeroShotCot } from './strategies/zero-shot-cot.js';
export type { ThoughtValues, ThoughtVotes } from './thoughts.js';
export {
  type CostRow,
  type SearchCosts,
  type SearchModels,
  type Trace,
  type TraceNode,
  type TraceStatus,
  traceCosts,
  traceTable,
  traceTexts,
  traceToJson,
} from './trace.js';
export { traceToHtml } from './trace-html.js';
export {
  type SiblingRow,
  type SolutionRow,
  type StepRow,
  type StepValueRow,
  type StepwiseRow,
  type TraceRowsOptions,
  traceRows,
} from './trace-rows.js';
export { traceToSvg } from './trace-svg.js';
export { puct, uct } from './tree-statistics.js';
