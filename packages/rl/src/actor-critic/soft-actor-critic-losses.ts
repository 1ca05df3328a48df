import { concat, type Key, softplus, type Tensor, valueAndGrad } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import { type LayerSizes, perceptron, perceptronParameters } from './multilayer-perceptron.js';

/** Transitions of a batch, float32 [b, …]; actions are from −1 to 1. */
export interface TransitionBatch {
  readonly observations: Tensor;
  readonly actions: Tensor;
  readonly rewards: Tensor;
  readonly nextObservations: Tensor;
  /** 1 where the episode was over, [b, 1]; an episode that was cut off is not. */
  readonly dones: Tensor;
  /** What each transition counts in a loss, [b, 1]: 1 / b each for a mean. */
  readonly weights: Tensor;
  /** Standard normal numbers for the actions in the observations, [b, actions]. */
  readonly noise: Tensor;
  /** The same for those in the next observations. */
  readonly nextNoise: Tensor;
}

/** Parameters by network, the targets, and log α. */
export interface SoftActorCriticParameters {
  readonly actor: Named;
  readonly critic: Named;
  readonly target: Named;
  readonly temperature: Named;
}

const CRITICS = ['qf0', 'qf1'] as const;
const LOG_STD = [-20, 2] as const;
const HALF_LOG_2_PI = 0.5 * Math.log(2 * Math.PI);

/** Networks of an actor and two critics with the same hidden layers; the targets begin as the critics. */
export function softActorCriticParameters(
  sizes: { readonly observation: number; readonly action: number; readonly hidden: LayerSizes },
  logAlpha: Tensor,
  key: Key,
): SoftActorCriticParameters {
  const { observation, action, hidden } = sizes;
  const critic = () =>
    Object.assign(
      {},
      ...CRITICS.map((name, i) => perceptronParameters(name, [observation + action, ...hidden, 1], key.child(1 + i))),
    ) as Named;
  // One layer gives means and logarithms of deviations, side by side.
  const actor = perceptronParameters('actor', [observation, ...hidden, 2 * action], key.child(0));
  return { actor, critic: critic(), target: critic(), temperature: { log_alpha: logAlpha } };
}

/** The mean [b, actions] and the logarithm of the deviation of what is drawn before the tanh. */
export function actorOutput(actor: Named, observations: Tensor): { readonly mean: Tensor; readonly logStd: Tensor } {
  const both = perceptron(actor, 'actor', observations);
  const size = both.shape[1]! / 2;
  return {
    mean: both.slice(1, 0, size),
    logStd: both
      .slice(1, size, 2 * size)
      .maximum(LOG_STD[0])
      .minimum(LOG_STD[1]),
  };
}

/**
 * Actions a = tanh(μ + σ ε) of −1 to 1, and log π(a|s) [b, 1] = Σ_j log N(u_j; μ_j, σ_j) − log(1 − tanh² u_j), of which the last is computed as
 * 2 (log 2 − u − softplus(−2u)).
 */
export function squashedGaussian(
  actor: Named,
  observations: Tensor,
  noise: Tensor,
): { readonly actions: Tensor; readonly logProbs: Tensor } {
  const { mean, logStd } = actorOutput(actor, observations);
  const drawn = mean.add(logStd.exp().mul(noise));
  const gaussian = noise.mul(noise).mul(-0.5).sub(logStd).sub(HALF_LOG_2_PI);
  const slope = drawn
    .add(softplus(drawn.mul(-2)))
    .neg()
    .add(Math.LN2)
    .mul(2);
  return { actions: drawn.tanh(), logProbs: gaussian.sub(slope).sum(1, { keepDims: true }) };
}

const bothValues = (critic: Named, observations: Tensor, actions: Tensor): [Tensor, Tensor] => {
  const x = concat([observations, actions], 1);
  return [perceptron(critic, CRITICS[0], x), perceptron(critic, CRITICS[1], x)];
};

/** Σ w ½ Σ_i (Q_i(s, a) − y)², y = r + γ (1 − d) (min_i Q'_i(s', a') − α log π(a'|s')), a' drawn by the actor. */
export function criticLoss(
  critic: Named,
  { actor, target }: Pick<SoftActorCriticParameters, 'actor' | 'target'>,
  batch: TransitionBatch,
  alpha: Tensor,
  gamma: number,
): Tensor {
  const next = squashedGaussian(actor, batch.nextObservations, batch.nextNoise);
  const [a, b] = bothValues(target, batch.nextObservations, next.actions);
  const value = a.minimum(b).sub(next.logProbs.mul(alpha));
  const goal = batch.rewards.add(batch.dones.neg().add(1).mul(gamma).mul(value));
  const errors = bothValues(critic, batch.observations, batch.actions).map((q) => q.sub(goal));
  return errors[0]!.mul(errors[0]!).add(errors[1]!.mul(errors[1]!)).mul(0.5).mul(batch.weights).sum();
}

/** Σ w (α log π(a|s) − min_i Q_i(s, a)), a drawn by the actor. */
export function actorLoss(actor: Named, critic: Named, batch: TransitionBatch, alpha: Tensor): Tensor {
  const { actions, logProbs } = squashedGaussian(actor, batch.observations, batch.noise);
  const [a, b] = bothValues(critic, batch.observations, actions);
  return logProbs.mul(alpha).sub(a.minimum(b)).mul(batch.weights).sum();
}

/** Σ w (− log α (log π(a|s) + H̄)): log α grows where the actor is surer than the entropy H̄ that is asked for. */
export function temperatureLoss(temperature: Named, logProbs: Tensor, weights: Tensor, targetEntropy: number): Tensor {
  return temperature.log_alpha!.mul(logProbs.add(targetEntropy)).mul(weights).sum().neg();
}

/** States of the three optimizers. */
export interface SoftActorCriticState<State> extends SoftActorCriticParameters {
  readonly optimizers: { readonly actor: State; readonly critic: State; readonly temperature: State };
}

/** What an update is made with. */
export interface UpdateSettings {
  /** γ. */
  readonly gamma: number;
  /** How far the targets go towards the critics. */
  readonly tau: number;
  /** H̄, in nats. */
  readonly targetEntropy: number;
  /** Whether α is learnt. */
  readonly learnsAlpha: boolean;
}

/** What an update saw, before it changed anything. */
export interface UpdateLosses {
  readonly critic: Tensor;
  readonly actor: Tensor;
  readonly temperature: Tensor;
  readonly alpha: Tensor;
}

/** One update: α, then the critics, then the actor against them, then the targets. α is that of before for all. */
export function softActorCriticUpdate<State>(
  state: SoftActorCriticState<State>,
  batch: TransitionBatch,
  { optimizer, ...settings }: UpdateSettings & { readonly optimizer: Optimizer<State> },
  learningRate: { readonly actor: Tensor; readonly critic: Tensor; readonly temperature: Tensor },
): { readonly state: SoftActorCriticState<State>; readonly losses: UpdateLosses } {
  const { gamma, tau, targetEntropy, learnsAlpha } = settings;
  const { optimizers } = state;
  const alpha = state.temperature.log_alpha!.exp();
  const { logProbs } = squashedGaussian(state.actor, batch.observations, batch.noise);
  const ofTemperature = valueAndGrad((own: Named) => temperatureLoss(own, logProbs, batch.weights, targetEntropy))(
    state.temperature,
  );
  const warmer = optimizer.update(
    state.temperature,
    ofTemperature.gradient,
    optimizers.temperature,
    learningRate.temperature,
  );
  const ofCritic = valueAndGrad((own: Named) => criticLoss(own, state, batch, alpha, gamma))(state.critic);
  const critic = optimizer.update(state.critic, ofCritic.gradient, optimizers.critic, learningRate.critic);
  const ofActor = valueAndGrad((own: Named) => actorLoss(own, critic.parameters, batch, alpha))(state.actor);
  const actor = optimizer.update(state.actor, ofActor.gradient, optimizers.actor, learningRate.actor);
  const target = Object.fromEntries(
    Object.entries(state.target).map(([name, old]) => [name, old.mul(1 - tau).add(critic.parameters[name]!.mul(tau))]),
  );
  const temperature = learnsAlpha ? warmer : { parameters: state.temperature, state: optimizers.temperature };
  return {
    state: {
      ...{ actor: actor.parameters, critic: critic.parameters, target, temperature: temperature.parameters },
      optimizers: { actor: actor.state, critic: critic.state, temperature: temperature.state },
    },
    losses: { critic: ofCritic.value, actor: ofActor.value, temperature: ofTemperature.value, alpha },
  };
}
