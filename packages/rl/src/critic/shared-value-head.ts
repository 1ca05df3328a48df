import type { Tensor } from '@posttrain/core-tensor';
import { type Given, integer, OptionError, options, PosttrainError } from '@posttrain/interfaces';
import { type CausalLM, headLogits, NO_ADAPTER, ValueModel } from '@posttrain/lm';
import type { Readout } from '@posttrain/training';
import { gaeSteps } from '../advantage/gae.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import type { Rollout } from '../rollout.js';
import type { Critic, CriticOptions } from './critic-values.js';
import { clippedValueLoss, valueLossShape } from './value-loss.js';

const sharedOptions = options('sharedValueHead', {
  ...valueLossShape,
  /** Of the head's initial weights. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `sharedValueHead`. */
export type SharedValueHeadOptions = Given<typeof sharedOptions>;

/** A policy with a value head on its own trunk. */
export interface SharedValueHead {
  /** The policy, whose weights have the head among them (`v_head.summary`, as TRL's `AutoModelForCausalLMWithValueHead`): what is trained. */
  readonly model: CausalLM;
  /** For `ppo` and `vapo`. */
  readonly critic: Critic;
}

const [RETURNS, OLD, WEIGHTS] = ['value_returns', 'old_values', 'value_weights'];

/**
 * PPO with one trunk for policy and values (arXiv 1707.06347, eq. 9): a linear head on the policy's last states says V, and c times the clipped value loss
 * (`valueLoss`) is added to the policy's, so that both move the trunk, by one optimizer and in one pass. Every weight is trained: an adapter would leave
 * the head as it is. `const { model, critic } = await sharedValueHead(policy)`, then `trainPolicy({ model, objective: policyObjectives.ppo({ critic }) })`.
 *
 * @throws OptionError; in a run PosttrainError SHARED_VALUE_HEAD for an adapter, or a model without the head
 */
export async function sharedValueHead(policy: CausalLM, given: SharedValueHeadOptions = {}): Promise<SharedValueHead> {
  const { cliprangeValue, vfCoef, seed } = sharedOptions.read(given);
  const valued = await ValueModel.fromCausalLM(policy, { format: 'v_head', seed });
  const head = Object.entries(valued.weights).filter(([name]) => name.startsWith('v_head.'));
  const values: Readout<Tensor> = {
    name: 'sharedValues',
    per: 'token',
    compute: ({ weights, hidden, hooks }) => headLogits(valued.network, weights, hidden, hooks).squeeze(2),
  };
  const settings = sharedOptions.settings(given);
  const inLoss = (returns: CriticOptions): Regulariser => {
    if (returns.endState) {
      const problem = 'the state behind the last token is not in the pass of a shared trunk; use a critic of its own.';
      throw new OptionError('INVALID_OPTION', 'sharedValueHead', 'endState', problem);
    }
    const made = new WeakMap<readonly Rollout[], ReturnType<typeof targetsOf>>();
    return {
      name: 'shared-value-loss',
      settings,
      needsReference: false,
      needsPass: true,
      annotations: [RETURNS!, OLD!, WEIGHTS!],
      annotate(rollout, all, _advantages, seen) {
        const targets = made.get(seen) ?? targetsOf(seen, returns);
        made.set(seen, targets);
        return targets[all.indexOf(rollout)]!;
      },
      compute({ pass, annotations }) {
        const weights = annotations[WEIGHTS!]!;
        const now = pass!.read(values).slice(1, 0, weights.shape[1]!);
        const metrics = clippedValueLoss(
          { values: now, returns: annotations[RETURNS!]!, old: annotations[OLD!]!, weights },
          cliprangeValue,
        );
        return { loss: metrics.vf_loss.mul(vfCoef), metrics };
      },
    };
  };
  return {
    model: policy.withWeights({ ...policy.weights, ...Object.fromEntries(head) }),
    critic: {
      name: 'shared-value-head',
      settings,
      inLoss,
      /** Of the policy as it was given: a run asks `valuesUnder`. */
      values: (sequences) => valued.values(sequences),
      async valuesUnder(now, sequences) {
        if (now.adapter !== NO_ADAPTER || !head.every(([name]) => name in now.model.weights)) {
          const problem = now.adapter === NO_ADAPTER ? 'the policy has no head' : 'an adapter leaves the head as it is';
          const remedy = 'train every weight of the model that sharedValueHead gives, or use valueModelCritic';
          throw new PosttrainError('SHARED_VALUE_HEAD', `sharedValueHead: ${problem}; ${remedy}`);
        }
        return valued.withWeights(now.model.weights).values(sequences);
      },
    },
  };
}

/** What the states of each rollout are worth, at the places of its tokens. */
function targetsOf(rollouts: readonly Rollout[], returns: CriticOptions): Readonly<Record<string, number[]>>[] {
  const steps = gaeSteps(rollouts, returns);
  const count = steps.reduce((sum, { at }) => sum + at.length, 0);
  return rollouts.map(({ completionTokens }, i) => {
    const { at, values, advantages } = steps[i]!;
    const place = (numbers: (j: number) => number) => {
      const entries = completionTokens.map(() => 0);
      at.forEach((t, j) => {
        entries[t] = numbers(j);
      });
      return entries;
    };
    return {
      [RETURNS!]: place((j) => advantages[j]! + values[j]!),
      [OLD!]: place((j) => values[j]!),
      [WEIGHTS!]: place(() => 1 / count),
    };
  });
}
