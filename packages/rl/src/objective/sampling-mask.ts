import { logSumExp, type Tensor, where } from '@posttrain/core-tensor';
import { type DecisiveSettings, type Given, integer, options } from '@posttrain/interfaces';
import {
  type Annotation,
  logProbsOf,
  predictions,
  type Read,
  type Readout,
  type Trainer,
  type TrainingRow,
} from '@posttrain/training';
import { keptTokensField, NO_TOKEN } from '../rollout/kept-tokens.js';
import type { Rollout } from '../rollout.js';
import type { ExtraNeed } from '../rollout-field.js';

const keptOption = {
  /**
   * K: the most tokens that truncation may leave at a place; of top-k it is k, of top-p and min-p any number up to the vocabulary. One at which it leaves
   * more ends the run by name. Memory is K numbers a token.
   */
  keptTokens: integer({ min: 1 }),
};
const maskOptions = options('samplingMaskReplay', keptOption);
/** Options of `samplingMaskReplay`. */
export type SamplingMaskOptions = Given<typeof maskOptions>;

/** An objective's view of what the sampler could draw. */
export interface SamplingMask {
  readonly name: string;
  readonly settings: DecisiveSettings;
  /** What rollouts must have: `singleTurn({ keptTokens })` gives it. */
  readonly need: ExtraNeed;
  readonly annotation: Annotation;
  /** The numbers of `annotation` for a completion. */
  annotate(rollout: Rollout): ArrayLike<number>;
  /** log π of completions under a trainer as it is, over what could be drawn at each place: log π_old, computed again. */
  logProbsOf(
    trainer: Trainer,
    rollouts: readonly Pick<Rollout, 'promptTokens' | 'completionTokens' | 'extras'>[],
    temperature: number,
  ): Promise<number[][]>;
  /** log Σ p of what could be drawn, [b, t]; 0 where that was every token. */
  logMass(read: Read, temperature: number): Tensor;
}

const KEPT = 'kept_tokens';
/** Stands for log 0. */
const NEVER = -1e30;

const massReadout = (k: number, temperature: number): Readout<Tensor> => {
  const own = logProbsOf({ ids: KEPT, k, temperature });
  return {
    name: 'samplingMaskMass',
    per: 'prediction',
    annotations: own.annotations!,
    compute(pass) {
      const isKept = pass.batch.annotations[KEPT]!.greaterEqual(0);
      const mass = logSumExp(where(isKept, pass.read(own), NEVER)).squeeze(2);
      return where(isKept.cast('int32').max(2).greater(0), mass, 0);
    },
  };
};

/**
 * Sampling-mask replay (DeepSeek-V3.2, arXiv 2512.02556, § 3.1: "keep sampling mask"): where top-k, top-p or min-p cut the sampler's distribution to a
 * set S at each place, the trainer takes log π(y) - log Σ_{v ∈ S} π(v) for its log-probability, over the same S. So the ratio is that of the distributions
 * that tokens are drawn from, exactly 1 on policy, and the policy gradient is that of their expected reward, S being held fixed. Without it a truncated
 * sample is learnt from as if any token could have come.
 *
 * `{ ...policyObjectives.grpo(), samplingMask: samplingMaskReplay({ keptTokens: 20 }) }`, with `rollouts: singleTurn({ keptTokens: 20 })`. Penalties and
 * constraints change more than the set: a source refuses them. The KL to a reference would compare another support and is refused.
 *
 * @throws OptionError
 */
export function samplingMaskReplay(given: SamplingMaskOptions): SamplingMask {
  const { keptTokens: k } = maskOptions.read(given);
  const field = keptTokensField(k);
  const readouts = new Map<number, Readout<Tensor>>();
  const massAt = (temperature: number) => {
    const known = readouts.get(temperature) ?? massReadout(k, temperature);
    readouts.set(temperature, known);
    return known;
  };
  return {
    name: 'sampling-mask-replay',
    settings: maskOptions.settings(given),
    need: field.need,
    annotation: { name: KEPT, per: 'prediction', width: k, dtype: 'int32' },
    annotate: (rollout) => field.of(rollout),
    logMass: (read, temperature) => read(massAt(temperature)),
    async logProbsOf(trainer, rollouts, temperature) {
      const rows = rollouts.map((rollout): TrainingRow => {
        const { promptTokens, completionTokens } = rollout;
        const before = promptTokens.length - 1;
        return {
          tokens: [...promptTokens, ...completionTokens],
          weights: [...new Array<number>(before).fill(0), ...completionTokens.map(() => 1)],
          annotations: { [KEPT]: [...new Array<number>(before * k).fill(NO_TOKEN), ...Array.from(field.of(rollout))] },
        };
      });
      const { logProbs } = await trainer.read(rows, predictions({ temperature }));
      const mass = await trainer.read(rows, massAt(temperature));
      return rollouts.map(({ promptTokens, completionTokens }, i) =>
        completionTokens.map((_, t) => {
          const at = promptTokens.length - 1 + t;
          return logProbs[i]![at]! - mass[i]![at]!;
        }),
      );
    },
  };
}
