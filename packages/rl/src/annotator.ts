import type { Key } from '@posttrain/core-tensor';
import type { DecisiveSettings, SamplingParams } from '@posttrain/interfaces';
import type { Adapter, CausalLM } from '@posttrain/lm';
import type { Metrics, TrainableModel, Trainer } from '@posttrain/training';
import type { RolloutNeed } from './advantage/advantage.js';
import type { Rollout, SampledRollout, ScoredRollout } from './rollout.js';
import type { Stateful } from './stateful.js';

/** A prefix to sample on from. */
export interface Prefix {
  /** Whose row, prompt and group the new rollouts have. */
  readonly rollout: SampledRollout;
  /** How many of its completion tokens are kept, as part of the new rollouts' completions with mask 0. Default 0. */
  readonly tokens?: number;
  /** How many rollouts. Default 1. */
  readonly n?: number;
  /** Instead of the run's: `{ temperature: 0 }` is greedy. */
  readonly sampling?: SamplingParams;
}

/** Who samples, in the place of the policy. */
export interface SampledBy {
  readonly model: CausalLM;
  readonly adapter: Adapter;
}

/** What an annotator may use of a run. */
export interface AnnotatorContext {
  /** The model that samples, with the policy's present weights, and its adapter. */
  readonly model: CausalLM;
  readonly adapter: Adapter;
  /** What the policy's logits are divided by when it samples. */
  readonly temperature: number;
  /** Training step, counted from 0. */
  readonly step: number;
  /** Random numbers of this annotator in this step. */
  readonly key: Key;
  readonly signal?: AbortSignal | undefined;
  /** Samples on from prefixes, with the policy as it is now or another one: one list per prefix. */
  sample(prefixes: readonly Prefix[], by?: SampledBy): Promise<SampledRollout[][]>;
  /** The run's rewards of rollouts. */
  score(rollouts: readonly SampledRollout[]): Promise<ScoredRollout[]>;
}

/**
 * Tells of a step's rollouts what their rewards do not: values of a critic, a baseline, rewards of tokens. It may sample on
 * from any prefix, ask models, and learn from what came of it. It belongs to the objective whose advantage reads what it gives.
 */
export interface Annotator extends Partial<Stateful> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** What every rollout has when it is done. */
  readonly gives: readonly RolloutNeed[];
  /** What learns in it, which no other run may have at the same time: a critic. Default: the annotator itself. */
  readonly learner?: object;
  /** Trainers that `learn` updates, by the names that the run's checkpoints keep them under. */
  readonly trainers?: Readonly<Record<string, Trainer<TrainableModel>>>;
  /** Called once before the first step of a run, resumed ones too: refuses what it cannot work with. */
  prepare?(context: AnnotatorContext): void | Promise<void>;
  /** @returns the rollouts with what is known of them now; it may add rollouts and leave some out */
  annotate(rollouts: readonly ScoredRollout[], context: AnnotatorContext): Promise<readonly ScoredRollout[]>;
  /**
   * Called after the step's updates with the rollouts as the objective saw them and the advantages it gave: a critic is
   * trained here. What it changes must be in `state` or in `trainers`; what it gives is logged.
   */
  learn?(
    rollouts: readonly Rollout[],
    advantages: readonly (number | ArrayLike<number>)[],
    context: AnnotatorContext,
  ): Promise<Metrics> | Promise<void>;
}
