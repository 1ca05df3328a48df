import { type Given, integer, listOf, number, options, PosttrainError } from '@posttrain/interfaces';
import type { Annotator, Prefix } from '../annotator.js';
import { alike, type ScoredRollout, trainedTokens } from '../rollout.js';
import { type Advantage, nanMean } from './advantage.js';

const stepShape = {
  /** Ids of tokens that end a step of reasoning: the state behind one of them has a value. None: the completion is one step. */
  stepTokens: listOf(integer({ min: 0 }), {}),
};
export const vinePpoShape = {
  ...stepShape,
  /** γ: what the value one step later is worth. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
};
export const vineValuesShape = {
  ...stepShape,
  /** K: how often each state is sampled on from. Default 9, as in the paper. */
  mcRollouts: integer({ default: 9, min: 1 }),
};
const vinePpoOptions = options('vinePpo', vinePpoShape);
/** Options of `vinePpo`. */
export type VinePpoOptions = Given<typeof vinePpoOptions>;
const vineValuesOptions = options('vineValues', vineValuesShape);
/** Options of `vineValues`. */
export type VineValuesOptions = Given<typeof vineValuesOptions>;

/** Index of the first token of each step. */
function startsOf(tokens: readonly number[], stepTokens: readonly number[]): number[] {
  return tokens.flatMap((_, t) => (t === 0 || stepTokens.includes(tokens[t - 1]!) ? [t] : []));
}

/**
 * The advantage of VinePPO (arXiv 2410.01679): all tokens of step j of a completion have A_j = r_j + γ V(s_{j+1}) - V(s_j) with s_j the
 * state before the step. The reward is paid with the last step, behind which V is 0. It needs `values`, which `vineValues()` gives by
 * sampling on, with the same `stepTokens`; the values of a critic at the beginnings of steps will do as well.
 */
export function vinePpo(given: VinePpoOptions): Advantage {
  const { stepTokens, gamma } = vinePpoOptions.read(given);
  return {
    name: 'vineppo',
    settings: vinePpoOptions.settings(given),
    needs: ['values'],
    level: 'token',
    compute: (rollouts) =>
      rollouts.map((rollout) => {
        const { completionTokens, reward, values, tokenRewards } = rollout;
        const starts = startsOf(completionTokens, stepTokens);
        const advantages = completionTokens.map(() => 0);
        if (reward === null) return advantages;
        starts.forEach((start, j) => {
          const end = starts[j + 1] ?? completionTokens.length;
          const next = end < completionTokens.length ? gamma * values![end]! : reward;
          let paid = 0;
          for (let t = start; t < end; t++) paid += tokenRewards?.[t] ?? 0;
          const advantage = paid + next - values![start]!;
          // A state of which no completion was scorable says nothing.
          advantages.fill(Number.isNaN(advantage) ? 0 : advantage, start, end);
        });
        return advantages;
      }),
  };
}

/**
 * Monte Carlo values (VinePPO, arXiv 2410.01679, eq. 5): V(s) is the mean reward of `mcRollouts` completions that the policy samples on
 * from s, for the state before every step of every rollout, and once for each prompt. Unbiased, whatever the policy is. Tokens
 * have the value of the state before their step. With steps of n tokens and completions of T it costs K (T / n) / 2 completions more.
 *
 * @throws PosttrainError VINE for rollouts of an environment: a prefix of these goes on without it
 */
export function vineValues(given: VineValuesOptions): Annotator {
  const { stepTokens, mcRollouts } = vineValuesOptions.read(given);
  return {
    name: 'vine-values',
    settings: vineValuesOptions.settings(given),
    gives: ['values'],
    async annotate(rollouts, { sample, score }) {
      rollouts.forEach(refuseEpisode);
      const begun = rollouts.flatMap((rollout) =>
        startsOf(rollout.completionTokens, stepTokens)
          .slice(1)
          .map((tokens) => ({ rollout, tokens })),
      );
      const prompts = alike(rollouts, promptOf).map(([rollout]) => ({ rollout: rollout!, tokens: 0 }));
      const states: readonly (Prefix & { readonly tokens: number })[] = [...prompts, ...begun];
      const further = await sample(states.map((state) => ({ ...state, n: mcRollouts })));
      const scored = await score(further.flat());
      const meanOf = (i: number) =>
        nanMean(scored.slice(i * mcRollouts, (i + 1) * mcRollouts).map(({ reward }) => reward ?? Number.NaN));
      const ofPrompt = new Map(prompts.map(({ rollout }, i) => [promptOf(rollout), meanOf(i)]));
      let next = prompts.length;
      return rollouts.map((rollout) => {
        const { completionTokens } = rollout;
        const values = new Float64Array(completionTokens.length);
        for (const start of startsOf(completionTokens, stepTokens)) {
          values.fill(start === 0 ? ofPrompt.get(promptOf(rollout))! : meanOf(next++), start);
        }
        return { ...rollout, values };
      });
    },
  };
}

const promptOf = ({ group, promptTokens }: ScoredRollout): string => `${group}: ${promptTokens}`;

function refuseEpisode(rollout: ScoredRollout, index: number): void {
  if (!rollout.messages && trainedTokens(rollout).every(Boolean)) return;
  const problem = `rollout ${index} has tokens that an environment wrote, which does not go on from a prefix`;
  throw new PosttrainError('VINE', `vineValues: ${problem}; use criticValues, or rollouts of a single turn`);
}
