import { stopGradient } from '@posttrain/core-tensor';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import { sequenceLogProbs } from '@posttrain/lm';
import { logProbsOf, weightedSum } from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import { rolloutField } from '../rollout-field.js';
import type { Regulariser } from './regulariser.js';

const shape = {
  /** How many of the sampler's most likely tokens are known at each place. Default 20. */
  k: integer({ default: 20, min: 1 }),
};
const scoreCenteringOptions = options('scoreCentering', {
  ...shape,
  /** The smallest weight of the truncated importance sampling beside it. Default 0. */
  low: number({ default: 0, min: 0 }),
  /** The largest, the `cap` of `truncatedImportance`. Default: there is no importance sampling beside it. */
  high: number({ optional: true, above: 0 }),
});
/** Options of `scoreCentering`. */
export type ScoreCenteringOptions = Given<typeof scoreCenteringOptions>;
const samplerHeadOptions = options('samplerHead', shape);
/** Options of `samplerHead`. */
export type SamplerHeadOptions = Given<typeof samplerHeadOptions>;

const fieldsOf = (k: number) => ({
  ids: rolloutField(`rl.sampler_head_ids.${k}`, { per: 'token', width: k }),
  logProbs: rolloutField(`rl.sampler_head_log_probs.${k}`, { per: 'token', width: k }),
});

/**
 * The k most likely tokens at each place, and their log-probabilities, of the policy as it is when it samples: what `scoreCentering` needs of a
 * sampler that is this package's own. A source with another sampler gives the fields itself: `samplerHead.fieldsOf(k)`.
 *
 * @throws OptionError
 */
export function samplerHead(given: SamplerHeadOptions = {}): Annotator {
  const { k } = samplerHeadOptions.read(given);
  const { ids, logProbs } = fieldsOf(k);
  return {
    name: 'sampler-head',
    settings: samplerHeadOptions.settings(given),
    gives: [ids.need, logProbs.need],
    async annotate(rollouts, { model, adapter, temperature }) {
      const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
      const scored = await sequenceLogProbs(model, sequences, { adapter, temperature, topLogProbs: k });
      return rollouts.map((rollout, i) => {
        const head = scored[i]!.topLogProbs!.slice(rollout.promptTokens.length - 1).flat();
        const withIds = ids.on(
          rollout,
          head.map(({ tokenId }) => tokenId),
        );
        return logProbs.on(
          withIds,
          head.map(({ logProb }) => logProb),
        );
      });
    },
  };
}
samplerHead.fieldsOf = fieldsOf;

const [IDS, PROBABILITIES] = ['sampler_head_ids', 'sampler_head_probabilities'];
/** Added to the trainer's tail mass, which is divided by. */
const EPSILON = 1e-8;

/**
 * Score centering (arXiv 2609.20807): where the sampler q is not the policy p, E_q[A ∇ log p] is biased even of a constant advantage, as E_q[∇ log p] is not 0.
 * This takes it off: + Σ_t w_t A_t Σ_v sg[c_v] log p_v over the sampler's k most likely tokens, whose tail is taken to be ρ p, with ρ the ratio of the two
 * tails' masses. Without importance sampling c_v = q_v - ρ p_v; beside a truncated one (`high`) c_v = clamp(p_v, low q_v, high q_v) - clamp(1, low ρ, high ρ) p_v,
 * which is 0 where nothing is truncated. It corrects no other bias. Needs `samplerHead()`, or a source that gives its fields.
 *
 * @throws OptionError
 */
export function scoreCentering(given: ScoreCenteringOptions = {}): Regulariser {
  const { k, low, high } = scoreCenteringOptions.read(given);
  const { ids, logProbs } = fieldsOf(k);
  return {
    name: 'score-centering',
    settings: scoreCenteringOptions.settings(given),
    needsReference: false,
    needsPass: true,
    annotations: [
      { name: IDS!, per: 'prediction', width: k, dtype: 'int32' },
      { name: PROBABILITIES!, per: 'prediction', width: k },
    ],
    annotate: (rollout) => ({
      [IDS!]: ids.of(rollout),
      [PROBABILITIES!]: Array.from(logProbs.of(rollout), Math.exp),
    }),
    compute({ pass, annotations, weights, tokenMean, temperature }) {
      const own = pass!.read(logProbsOf({ ids: IDS!, k, temperature }));
      const [p, q] = [stopGradient(own.exp()), annotations[PROBABILITIES!]!];
      const tail = (mass: typeof p) => mass.sum(2, { keepDims: true }).neg().add(1).maximum(0);
      const ratio = tail(q).div(tail(p).add(EPSILON));
      const mass = high === undefined ? q : p.maximum(q.mul(low)).minimum(q.mul(high));
      const alpha = high === undefined ? ratio : ratio.mul(0).add(1).maximum(ratio.mul(low)).minimum(ratio.mul(high));
      const centre = mass.sub(alpha.mul(p)).mul(own).sum(2);
      return {
        loss: weightedSum(centre.mul(annotations.advantages!), weights),
        metrics: { 'score_centering/mass': weightedSum(mass.sub(alpha.mul(p)).abs().sum(2), tokenMean) },
      };
    },
  };
}
