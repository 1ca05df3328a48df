import { type Given, number, options } from '@posttrain/interfaces';
import { sequenceLogProbs } from '@posttrain/lm';
import type { Annotator } from '../annotator.js';
import { trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import type { Advantage } from './advantage.js';

/** H(π(· | s_t)) in nats, before each token of a completion. */
export const tokenEntropies = rolloutField('rl.token_entropies', { per: 'token' });

/** Gives rollouts the entropies of the policy as it is when they are sampled, by a pass over them. */
export function policyEntropies(): Annotator {
  return {
    name: 'policy-entropies',
    settings: {},
    gives: [tokenEntropies.need],
    async annotate(rollouts, { model, adapter, temperature }) {
      const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
      const scored = await sequenceLogProbs(model, sequences, { adapter, temperature });
      return rollouts.map((rollout, i) =>
        tokenEntropies.on(rollout, scored[i]!.entropies.subarray(rollout.promptTokens.length - 1)),
      );
    },
  };
}

export const topEntropyShape = {
  /** The share of tokens that is learnt from. Default 0.2. */
  topEntropyQuantile: number({ default: 0.2, above: 0, max: 1 }),
};
const topEntropyOptions = options('topEntropy', topEntropyShape);
/** Options of `topEntropy`. */
export type TopEntropyOptions = Given<typeof topEntropyOptions>;

/** The quantile of sorted numbers, between neighbours in proportion, as `torch.quantile`. */
function quantileOf(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at - Math.floor(at));
}

/**
 * An advantage for the tokens that decide ("80/20", arXiv 2506.01939; TRL's `top_entropy_quantile`): those with the most entropy of the step keep it,
 * and all others get 0; they stay in every mean. The threshold is the (1 - share) quantile over all trained tokens of the step, of the policy that
 * sampled: micro-batches cannot change it, where TRL takes one for each. `policyEntropies()` gives the entropies.
 *
 * @throws OptionError
 */
export function topEntropy(advantage: Advantage, given: TopEntropyOptions = {}): Advantage {
  const { topEntropyQuantile } = topEntropyOptions.read(given);
  return {
    ...advantage,
    name: `top-entropy(${advantage.name})`,
    settings: { ...advantage.settings, ...topEntropyOptions.settings(given) },
    needs: [...(advantage.needs ?? []), tokenEntropies.need],
    compute(rollouts) {
      const entropies = rollouts.map((rollout) => {
        const own = tokenEntropies.of(rollout);
        return trainedTokens(rollout).map((trained, t) => (trained ? own[t]! : Number.NaN));
      });
      const sorted = entropies.flat().filter((value) => !Number.isNaN(value));
      const threshold = quantileOf(
        sorted.toSorted((a, b) => a - b),
        1 - topEntropyQuantile,
      );
      return advantage
        .compute(rollouts)
        .map((own, i) =>
          entropies[i]!.map((entropy, t) => (entropy >= threshold ? (typeof own === 'number' ? own : own[t]!) : 0)),
        );
    },
  };
}
