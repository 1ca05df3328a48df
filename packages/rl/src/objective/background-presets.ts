import { custom, type Given, number, options, settingsOf } from '@posttrain/interfaces';
import { mixer, mixerShape } from '../advantage/mixer.js';
import { nStepAdvantage } from '../advantage/n-step.js';
import { greedyBaseline, reMax } from '../advantage/remax.js';
import { type SeqGanOptions, type SeqGanValuesOptions, seqGan, seqGanValues } from '../adversarial/seq-gan.js';
import type { Critic } from '../critic/critic-values.js';
import { nStepValues } from '../critic/n-step-values.js';
import { klInReward } from '../regulariser/kl-in-reward.js';
import { regulariserShape, regularisersOf } from '../regulariser/regularisers-of.js';
import { nStepShape } from '../td/n-step-returns.js';
import type { PolicyObjectiveParts } from './policy-objective.js';
import { noRatio, policyGradient, sequenceSum, tokenMean } from './simple-parts.js';

const a2cOptions = options('a2c', {
  ...nStepShape,
  ...regulariserShape,
  /** What gives states their values: `await valueModelCritic(value, { iterationsPerBatch: 1, vfCoef: 0.5 })`. */
  critic: custom<Critic>()(
    'a critic, such as await valueModelCritic(model)',
    (value) => typeof (value as Partial<Critic> | null | undefined)?.values === 'function',
    { settings: ({ settings }) => settingsOf(settings ?? {}) },
  ),
  /** Weight of the entropy bonus. Default 0.01, as in A3C. */
  entropyCoef: number({ default: 0.01 }),
});
/** Options of `policyObjectives.a2c`. */
export type A2cOptions = Given<typeof a2cOptions>;

const mixerPresetOptions = options('mixer', mixerShape);
/** Options of `policyObjectives.mixer`. */
export type MixerObjectiveOptions = Given<typeof mixerPresetOptions>;

const scstOptions = options('scst', regulariserShape);
/** Options of `policyObjectives.scst`. */
export type ScstOptions = Given<typeof scstOptions>;

/** Options of `policyObjectives.seqgan`. */
export type SeqGanObjectiveOptions = SeqGanValuesOptions & SeqGanOptions;

/** What all of them learn by: the policy gradient of the policy that sampled, summed over tokens. */
const vanilla = { ratio: noRatio(), surrogate: policyGradient(), aggregation: sequenceSum() } as const;

/** The algorithms that today's stand on. */
export const backgroundObjectives = {
  /**
   * A2C, the synchronous A3C (arXiv 1602.01783): an actor, whose advantage is the return of a segment of `nSteps` tokens less a critic's value, and
   * the critic, which is taught these returns. k workers are a step of k prompts: their gradients are averaged.
   */
  a2c: (given: A2cOptions): PolicyObjectiveParts => {
    const { critic, beta, entropyCoef, ...steps } = a2cOptions.read(given);
    return {
      ...{ ...vanilla, name: 'a2c', aggregation: tokenMean() },
      advantage: nStepAdvantage(steps),
      annotators: [nStepValues(critic, steps)],
      regularisers: regularisersOf({ beta, entropyCoef }, klInReward),
    };
  },
  /**
   * MIXER (arXiv 1511.06732): cross-entropy for the tokens of a reference, REINFORCE for those that were sampled behind them. Which are which is said by
   * the source: `mixerRollouts`, or `annealedRollouts`.
   */
  mixer: (given: MixerObjectiveOptions = {}): PolicyObjectiveParts => ({
    ...{ ...vanilla, name: 'mixer', advantage: mixer(mixerPresetOptions.read(given)) },
  }),
  /**
   * SCST (self-critical sequence training, arXiv 1612.00563): REINFORCE whose baseline is the reward of the policy's own greedy completion. A sample that
   * is that completion teaches nothing.
   */
  scst: (given: ScstOptions = {}): PolicyObjectiveParts => ({
    ...{ ...vanilla, name: 'scst', advantage: reMax(), annotators: [greedyBaseline()] },
    regularisers: regularisersOf(scstOptions.read(given), klInReward),
  }),
  /** SeqGAN (arXiv 1609.05473): a token is worth what a discriminator says of completions that the policy samples on from it. */
  seqgan: ({ baseline, ...values }: SeqGanObjectiveOptions): PolicyObjectiveParts => ({
    ...{ ...vanilla, name: 'seqgan' },
    advantage: seqGan(baseline === undefined ? {} : { baseline }),
    annotators: [seqGanValues(values)],
  }),
} as const;
