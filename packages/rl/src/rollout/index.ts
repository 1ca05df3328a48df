export { checkRollouts, RolloutError } from './check-rollouts.js';
export { type DifficultyCurriculumOptions, difficultyCurriculum } from './difficulty-curriculum.js';
export {
  type Environment,
  EnvironmentError,
  type Episode,
  type EpisodeContext,
  type EpisodeStep,
  type Reply,
  type ToolCallOfReply,
} from './environment.js';
export { type ExternalSamplerOptions, externalSampler, type PolicyToSync } from './external-sampler.js';
export { FleetError } from './fleet/fleet.js';
export type { FleetEvent, OnFleetEvent } from './fleet/fleet-event.js';
export { type FleetRolloutsOptions, fleetRollouts } from './fleet/fleet-rollouts.js';
export { type LoggedCompletion, type LoggedRolloutsOptions, loggedRollouts } from './logged-rollouts.js';
export {
  type AnnealedRolloutsOptions,
  annealedRollouts,
  type MixerRolloutsOptions,
  mixerRollouts,
} from './mixer-rollouts.js';
export {
  type AgentTurn,
  type MultiAgentEnvironment,
  type MultiAgentEpisode,
  type MultiAgentOptions,
  multiAgent,
} from './multi-agent.js';
export { type MultiTurnOptions, multiTurn } from './multi-turn.js';
export type { ActionSpace, NumericEnvironment, NumericEpisode, NumericStep } from './numeric-environment.js';
export type { ParseErrorPolicy } from './parse-errors.js';
export { type PartialRolloutsOptions, partialRollouts } from './partial-rollouts.js';
export { type NumericPolicy, type PlayOptions, play, returnOf, type Trajectory } from './play.js';
export { policyVersion, stalenessMetrics, type VersionSpan, versionSpans } from './policy-version.js';
export { importanceWeighted, type PrioritizedReplayOptions, prioritizedReplay } from './prioritized-replay.js';
export { type ReconcileTurnsOptions, reconcileTurns, type TurnRecord, type TurnSequence } from './reconcile-turns.js';
export { type RestartBufferOptions, restartBuffer } from './restart-buffer.js';
export type { LimitStop, RolloutLimits, StopReason } from './rollout-limits.js';
export {
  type FeedbackContext,
  generatorOf,
  type RolloutRequest,
  type RolloutSource,
  type SamplingRequest,
  seedOf,
} from './rollout-source.js';
export type { RowSource, SourcedRow } from './row-source.js';
export { type SamplerMismatch, samplerMismatch } from './sampler-mismatch.js';
export type { OpenCompletion, OpenGroup, Segment } from './segments.js';
export { type SingleTurnOptions, singleTurn } from './single-turn.js';
export { type EnvironmentTool, toolEnvironment } from './tool-environment.js';
export { toolReplies } from './tool-replies.js';
export { type TreeRolloutsOptions, treeRollouts } from './tree-rollouts.js';
