export { type ReplayBuffer, type ReplayBufferOptions, replayBuffer, type Transition } from './replay-buffer.js';
export {
  type EpisodeReturn,
  type ImaginationContext,
  type ImaginedTransitions,
  type SoftActorCriticOptions,
  type SoftActorCriticResult,
  softActorCritic,
} from './soft-actor-critic.js';
export type { SoftActorCriticCheckpoint } from './soft-actor-critic-checkpoint.js';
export {
  actorLoss,
  criticLoss,
  type SoftActorCriticParameters,
  type SoftActorCriticState,
  softActorCriticUpdate,
  squashedGaussian,
  type TransitionBatch,
  temperatureLoss,
  type UpdateLosses,
  type UpdateSettings,
} from './soft-actor-critic-losses.js';
