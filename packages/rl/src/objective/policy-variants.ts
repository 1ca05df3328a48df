import { custom, type Given, number, oneOf, options, settingsOf } from '@posttrain/interfaces';
import { clipCov, clipCovShape } from '../advantage/clip-cov.js';
import { gae } from '../advantage/gae.js';
import { gdpo, gdpoShape } from '../advantage/gdpo.js';
import { gfpo, gfpoShape } from '../advantage/gfpo.js';
import { logPartition } from '../advantage/log-partition.js';
import { maxRl } from '../advantage/max-rl.js';
import { processGrpo, processGrpoShape } from '../advantage/process-grpo.js';
import { policyEntropies, topEntropy, topEntropyShape } from '../advantage/top-entropy.js';
import { type Critic, criticValues, inLoss } from '../critic/critic-values.js';
import { gspoTokenRatio } from '../ratio/gspo-token.js';
import { klCov, klCovShape } from '../regulariser/kl-cov.js';
import { klInLoss } from '../regulariser/kl-in-loss.js';
import { positiveExamples, positiveExamplesShape } from '../regulariser/positive-examples.js';
import { regulariserShape, regularisersOf } from '../regulariser/regularisers-of.js';
import { squaredLogRatio } from '../regulariser/squared-log-ratio.js';
import { cispo, cispoShape } from '../surrogate/cispo.js';
import { clip, clipShape } from '../surrogate/clip.js';
import { dppo, dppoShape } from '../surrogate/dppo.js';
import { gmpo, gmpoShape } from '../surrogate/gmpo.js';
import { sapo, sapoShape } from '../surrogate/sapo.js';
import { unclipped } from '../surrogate/unclipped.js';
import { vespo, vespoShape } from '../surrogate/vespo.js';
import { groupNormalized, groupNormalizedShape } from './grpo.js';
import type { PolicyObjectiveParts } from './policy-objective.js';
import {
  noRatio,
  policyGradient,
  sequenceMean,
  sequenceRatio,
  sequenceSum,
  tokenMean,
  tokenRatio,
} from './simple-parts.js';

// What has come after GRPO: each changes a part or two of it.

const common = { ...groupNormalizedShape, ...regulariserShape };
const level = {
  /** Of what the ratio is: a token, or the completion (the geometric mean). Default `token`. */
  importanceSamplingLevel: oneOf(['token', 'sequence'], { default: 'token' }),
};
const RATIOS = { token: tokenRatio, sequence: sequenceRatio };

const cispoOptions = options('cispo', { ...common, ...level, ...cispoShape });
/** Options of `policyObjectives.cispo`. */
export type CispoObjectiveOptions = Given<typeof cispoOptions>;
const sapoOptions = options('sapo', { ...common, ...level, ...sapoShape });
/** Options of `policyObjectives.sapo`. */
export type SapoObjectiveOptions = Given<typeof sapoOptions>;
const luspoOptions = options('luspo', {
  ...common,
  ...clipShape,
  /** As the paper has it, of the completion. Default `sequence`. */
  importanceSamplingLevel: oneOf(['token', 'sequence'], { default: 'sequence' }),
});
/** Options of `policyObjectives.luspo`. */
export type LuspoOptions = Given<typeof luspoOptions>;
const vespoOptions = options('vespo', { ...common, ...vespoShape });
/** Options of `policyObjectives.vespo`. */
export type VespoObjectiveOptions = Given<typeof vespoOptions>;
const gmpoOptions = options('gmpo', { ...common, ...gmpoShape });
/** Options of `policyObjectives.gmpo`. */
export type GmpoObjectiveOptions = Given<typeof gmpoOptions>;
const dppoOptions = options('dppo', { ...common, ...dppoShape });
/** Options of `policyObjectives.dppo`. */
export type DppoObjectiveOptions = Given<typeof dppoOptions>;

const clipped = { ...regulariserShape, ...clipShape };
const gspoTokenOptions = options('gspo_token', {
  ...common,
  ...clipShape,
  /** Default 3e-4, as in the paper: a geometric mean moves little. */
  epsilon: number({ default: 3e-4, min: 0, below: 1 }),
  /** Default 4e-4. */
  epsilonHigh: number({ default: 4e-4, min: 0 }),
});
/** Options of `policyObjectives.gspo_token`. */
export type GspoTokenOptions = Given<typeof gspoTokenOptions>;
const gfpoOptions = options('gfpo', { ...clipped, ...gfpoShape });
/** Options of `policyObjectives.gfpo`. */
export type GfpoObjectiveOptions = Given<typeof gfpoOptions>;
const gdpoOptions = options('gdpo', { ...clipped, ...gdpoShape });
/** Options of `policyObjectives.gdpo`. */
export type GdpoObjectiveOptions = Given<typeof gdpoOptions>;
const maxRlOptions = options('max_rl', clipped);
/** Options of `policyObjectives.max_rl`. */
export type MaxRlOptions = Given<typeof maxRlOptions>;
const litePpoOptions = options('lite_ppo', clipped);
/** Options of `policyObjectives.lite_ppo`. */
export type LitePpoOptions = Given<typeof litePpoOptions>;
const processOptions = options('process_grpo', { ...clipped, ...processGrpoShape });
/** Options of `policyObjectives.process_grpo`. */
export type ProcessGrpoObjectiveOptions = Given<typeof processOptions>;
const topEntropyOptions = options('top_entropy', { ...common, ...clipShape, ...topEntropyShape });
/** Options of `policyObjectives.top_entropy`. */
export type TopEntropyObjectiveOptions = Given<typeof topEntropyOptions>;
const clipCovOptions = options('clip_cov', { ...common, ...clipShape, ...clipCovShape });
/** Options of `policyObjectives.clip_cov`. */
export type ClipCovObjectiveOptions = Given<typeof clipCovOptions>;
const klCovOptions = options('kl_cov', { ...common, ...klCovShape });
/** Options of `policyObjectives.kl_cov`. */
export type KlCovObjectiveOptions = Given<typeof klCovOptions>;

const kimiOptions = options('mirror_descent', {
  /** τ: how far one round of updates may go from the policy that sampled. */
  tau: number({ above: 0 }),
  /** What stands for τ log Z: the mean reward of the group, as the paper takes it, or its log-mean-exp. Default `mean`. */
  baseline: oneOf(['mean', 'log-partition'], { default: 'mean' }),
  ...regulariserShape,
});
/** Options of `policyObjectives.mirror_descent`. */
export type MirrorDescentOptions = Given<typeof kimiOptions>;

const vapoOptions = options('vapo', {
  ...clipped,
  ...positiveExamplesShape,
  /** How far above 1 the ratio may rise. Default 0.28. */
  epsilonHigh: number({ default: 0.28, min: 0 }),
  /** What gives states their values, and learns from returns (λ 1): `await valueModelCritic(...)`, best after some steps by itself. */
  critic: custom<Critic>()(
    'a critic, such as await valueModelCritic(model)',
    (value) => typeof (value as Partial<Critic> | null | undefined)?.values === 'function',
    { settings: ({ settings }) => settingsOf(settings ?? {}) },
  ),
  /** γ. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** λ of the policy. Default: `lengthAlpha` says it; with VC-PPO (arXiv 2503.01491) 0.95. */
  lambda: number({ optional: true, min: 0, max: 1 }),
  /** α of the length-adaptive λ, where no `lambda` is given. Default 0.05. */
  lengthAlpha: number({ default: 0.05, above: 0 }),
  /** λ of the critic's returns. Default 1: they are not biased by it. */
  criticLambda: number({ default: 1, min: 0, max: 1 }),
});
/** Options of `policyObjectives.vapo`. */
export type VapoOptions = Given<typeof vapoOptions>;

/** GRPO whose loss of a token is another. */
const ofTokens = (
  name: string,
  { scaleRewards, beta, entropyCoef }: { scaleRewards: 'group' | 'batch' | 'none'; beta: number; entropyCoef: number },
  others: Pick<PolicyObjectiveParts, 'ratio' | 'surrogate' | 'aggregation'>,
): PolicyObjectiveParts => ({
  ...{ name, ...others },
  advantage: groupNormalized({ scaleRewards }),
  regularisers: regularisersOf({ beta, entropyCoef }, klInLoss),
});

/** GRPO whose advantage is another. */
const ofAdvantage = (
  name: string,
  { beta, entropyCoef, ...clipping }: Parameters<typeof clip>[0] & { beta: number; entropyCoef: number },
  others: Pick<PolicyObjectiveParts, 'advantage' | 'aggregation' | 'annotators'>,
): PolicyObjectiveParts => ({
  ...{ name, ...others },
  ratio: tokenRatio(),
  surrogate: clip(clipping),
  regularisers: regularisersOf({ beta, entropyCoef }, klInLoss),
});

/** Presets that are GRPO with other parts. */
export const policyVariants = {
  /** CISPO (MiniMax-M1, arXiv 2506.13585), with the mean over all tokens. */
  cispo: (given: CispoObjectiveOptions = {}) => {
    const { epsilonHigh, epsilonLow, importanceSamplingLevel, ...others } = cispoOptions.read(given);
    const ratio = RATIOS[importanceSamplingLevel]();
    return ofTokens('cispo', others, {
      ratio,
      surrogate: cispo({ epsilonHigh, epsilonLow }),
      aggregation: tokenMean(),
    });
  },
  /** SAPO (arXiv 2511.20347). */
  sapo: (given: SapoObjectiveOptions = {}) => {
    const { temperaturePos, temperatureNeg, importanceSamplingLevel, ...others } = sapoOptions.read(given);
    const surrogate = sapo({ temperaturePos, temperatureNeg });
    return ofTokens('sapo', others, {
      ratio: RATIOS[importanceSamplingLevel](),
      surrogate,
      aggregation: sequenceMean(),
    });
  },
  /** LUSPO (arXiv 2602.05261): GSPO whose completions weigh as long as they are, so that it does not prefer short ones. */
  luspo: (given: LuspoOptions = {}) => {
    const { importanceSamplingLevel, scaleRewards, beta, entropyCoef, ...clipping } = luspoOptions.read(given);
    const ratio = RATIOS[importanceSamplingLevel]();
    const others = { scaleRewards, beta, entropyCoef };
    return ofTokens('luspo', others, { ratio, surrogate: clip(clipping), aggregation: sequenceSum() });
  },
  /** VESPO (arXiv 2602.10693). */
  vespo: (given: VespoObjectiveOptions = {}) => {
    const { scaleRewards, beta, entropyCoef, ...kernel } = vespoOptions.read(given);
    const others = { scaleRewards, beta, entropyCoef };
    return ofTokens('vespo', others, { ratio: tokenRatio(), surrogate: vespo(kernel), aggregation: tokenMean() });
  },
  /** GMPO (arXiv 2507.20673). */
  gmpo: (given: GmpoObjectiveOptions = {}) => {
    const { scaleRewards, beta, entropyCoef, ...clipping } = gmpoOptions.read(given);
    const others = { scaleRewards, beta, entropyCoef };
    return ofTokens('gmpo', others, { ratio: tokenRatio(), surrogate: gmpo(clipping), aggregation: sequenceMean() });
  },
  /** GSPO-token (arXiv 2507.18071, § 4.3). */
  gspo_token: (given: GspoTokenOptions = {}) => {
    const { scaleRewards, beta, entropyCoef, ...clipping } = gspoTokenOptions.read(given);
    const others = { scaleRewards, beta, entropyCoef };
    return ofTokens('gspo_token', others, {
      ratio: gspoTokenRatio(),
      surrogate: clip(clipping),
      aggregation: sequenceMean(),
    });
  },
  /** DPPO (arXiv 2602.04879); `{ side: 'both', low: 0.1, high: 0.1 }` is the mask of prime-rl's `ipo`. */
  dppo: (given: DppoObjectiveOptions = {}) => {
    const { scaleRewards, beta, entropyCoef, ...region } = dppoOptions.read(given);
    const others = { scaleRewards, beta, entropyCoef };
    return ofTokens('dppo', others, { ratio: tokenRatio(), surrogate: dppo(region), aggregation: tokenMean() });
  },
  /** GFPO (arXiv 2508.09726). */
  gfpo: (given: GfpoObjectiveOptions) => {
    const { keep, metric, ...others } = gfpoOptions.read(given);
    return ofAdvantage('gfpo', others, { advantage: gfpo({ keep, metric }), aggregation: tokenMean() });
  },
  /** GDPO (arXiv 2601.05242). */
  gdpo: (given: GdpoObjectiveOptions = {}) => {
    const { rewardWeights, ...others } = gdpoOptions.read(given);
    const advantage = gdpo(rewardWeights === undefined ? {} : { rewardWeights });
    return ofAdvantage('gdpo', others, { advantage, aggregation: tokenMean() });
  },
  /** MaxRL (arXiv 2602.02710). */
  max_rl: (given: MaxRlOptions = {}) =>
    ofAdvantage('max_rl', maxRlOptions.read(given), { advantage: maxRl(), aggregation: tokenMean() }),
  /** Lite PPO (arXiv 2508.08221): the mean of the group, the deviation of the step, and the mean over all tokens. No more is needed of GRPO. */
  lite_ppo: (given: LitePpoOptions = {}) => {
    const advantage = groupNormalized({ scaleRewards: 'batch' });
    return ofAdvantage('lite_ppo', litePpoOptions.read(given), { advantage, aggregation: tokenMean() });
  },
  /** GRPO with process supervision (DeepSeekMath, arXiv 2402.03300, § 4.1.3). */
  process_grpo: (given: ProcessGrpoObjectiveOptions) => {
    const { stepTokens, ...others } = processOptions.read(given);
    return ofAdvantage('process_grpo', others, { advantage: processGrpo({ stepTokens }), aggregation: sequenceMean() });
  },
  /** DAPO of the tokens with the most entropy (arXiv 2506.01939). */
  top_entropy: (given: TopEntropyObjectiveOptions = {}) => {
    const { topEntropyQuantile, scaleRewards, ...others } = topEntropyOptions.read(given);
    const advantage = topEntropy(groupNormalized({ scaleRewards }), { topEntropyQuantile });
    return ofAdvantage('top_entropy', others, { advantage, annotators: [policyEntropies()], aggregation: tokenMean() });
  },
  /** Clip-Cov (arXiv 2505.22617). */
  clip_cov: (given: ClipCovObjectiveOptions = {}) => {
    const { clipCovRatio, clipCovLow, clipCovHigh, seed, scaleRewards, ...others } = clipCovOptions.read(given);
    const advantage = clipCov(groupNormalized({ scaleRewards }), { clipCovRatio, clipCovLow, clipCovHigh, seed });
    return ofAdvantage('clip_cov', others, { advantage, aggregation: tokenMean() });
  },
  /** KL-Cov (arXiv 2505.22617): no clip. */
  kl_cov: (given: KlCovObjectiveOptions = {}): PolicyObjectiveParts => {
    const { klCovRatio, ppoKlCoef, ...others } = klCovOptions.read(given);
    const parts = ofTokens('kl_cov', others, { ratio: tokenRatio(), surrogate: unclipped(), aggregation: tokenMean() });
    return { ...parts, regularisers: [klCov({ klCovRatio, ppoKlCoef }), ...(parts.regularisers ?? [])] };
  },
  /** The mirror descent of Kimi k1.5 (arXiv 2501.12599, eq. 3): -(r - τ log Z) log π + τ/2 (log π/π_old)² of completions. */
  mirror_descent: (given: MirrorDescentOptions): PolicyObjectiveParts => {
    const { tau, baseline, ...others } = kimiOptions.read(given);
    return {
      name: 'mirror_descent',
      advantage: baseline === 'mean' ? groupNormalized({ scaleRewards: 'none' }) : logPartition({ tau }),
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: sequenceSum(),
      regularisers: [squaredLogRatio({ tau, level: 'sequence' }), ...regularisersOf(others, klInLoss)],
    };
  },
  /**
   * VAPO (arXiv 2504.05118): PPO for long reasoning. The critic learns returns with a λ of its own (decoupled GAE, VC-PPO, arXiv 2503.01491), the
   * policy has a λ by length, a wider upper clip, the mean over all tokens, and a language-model loss of what was right. VC-PPO is
   * `{ lambda: 0.95, mu: 0, epsilonHigh: 0.2 }`.
   */
  vapo: (given: VapoOptions): PolicyObjectiveParts => {
    const { critic, gamma, lambda, lengthAlpha, criticLambda, mu, above, beta, entropyCoef, ...clipping } =
      vapoOptions.read(given);
    return {
      name: 'vapo',
      advantage: gae({ gamma, ...(lambda === undefined ? { lengthAlpha } : { lambda }) }),
      annotators: [criticValues(critic, { gamma, lambda: criticLambda })],
      ratio: tokenRatio(),
      surrogate: clip(clipping),
      aggregation: tokenMean(),
      regularisers: [
        ...inLoss(critic, { gamma, lambda: criticLambda }),
        ...(mu === 0 ? [] : [positiveExamples({ mu, above })]),
        ...regularisersOf({ beta, entropyCoef }, klInLoss),
      ],
    };
  },
} as const;
