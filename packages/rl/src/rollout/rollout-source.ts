import type { Key } from '@posttrain/core-tensor';
import type { DecisiveSettings, SamplingParams } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, LocalGenerator, type PackWeights } from '@posttrain/lm';
import type { RolloutNeed } from '../advantage/advantage.js';
import type { PromptRow } from '../rewards/reward.js';
import type { Rollout, SampledRollout } from '../rollout.js';
import type { Stateful } from '../stateful.js';
import type { OpenGroup, Segment } from './segments.js';

/** How and from what is sampled. */
export interface SamplingRequest {
  readonly model: CausalLM;
  readonly adapter: Adapter;
  /** Where a run has several policies, all of them beside the model, by name; `adapter` is the first. */
  readonly policies?: Readonly<Record<string, Adapter>>;
  readonly sampling: SamplingParams;
  /** Completions decoded together. */
  readonly maxBatch: number;
  /** As `LocalGenerator` has it. */
  readonly packWeights: PackWeights;
  /** Names the random numbers. */
  readonly key: Key;
  /** Training step that they are for, counted from 0. */
  readonly step: number;
  /** The step before whose update the policy is, where rollouts run ahead of it (`maxStaleness`). Default: `step`. */
  readonly policyStep?: number;
  /** Ends sampling early; its reason is then thrown. */
  readonly signal?: AbortSignal | undefined;
}

/** What a source is asked for: rollouts of rows, a group each. */
export interface RolloutRequest<Row extends PromptRow = PromptRow> extends SamplingRequest {
  readonly rows: readonly Row[];
  /** The tokens of each row's prompt. */
  readonly prompts: readonly (readonly number[])[];
  /** Rollouts of each row. */
  readonly completionsPerPrompt: number;
  /** The group of the first row; those of the others follow. */
  readonly firstGroup: number;
}

/** What a source is told of rollouts that a run has learnt from. */
export interface FeedbackContext {
  /** Training step, counted from 0. */
  readonly step: number;
  /** Of each rollout: one number, or one a token. */
  readonly advantages: readonly (number | ArrayLike<number>)[];
}

/**
 * Where rollouts come from: one completion of a prompt, an episode in an environment, a search, a replay buffer, a sampler
 * elsewhere. It is a pure function of the request, its settings and its state.
 */
export interface RolloutSource<Row extends PromptRow = PromptRow> extends Partial<Stateful> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** What its rollouts have that an advantage may need. Default: nothing. */
  readonly gives?: readonly RolloutNeed[];
  /** What it samples with is not the policy of the request. Default false: the log-probs of its sampler are log π_old. */
  readonly isOffPolicy?: boolean;
  /**
   * Of one that is off-policy: whether its rollouts have `oldLogProbs`, of the policy, beside the `samplerLogProbs` of what they were drawn
   * from. The objective's ratio must correct for the difference then. Default false: log π_old must be recomputed.
   */
  readonly givesOldLogProbs?: boolean;
  /** What evaluations sample from. Default: the source itself; `singleTurn()` where it is off-policy. */
  readonly evaluated?: RolloutSource<Row>;
  /** Every rollout has a row of the request, or of an earlier one. What has its `reward` and `rewards` is not scored again. */
  sample(request: RolloutRequest<Row>): Promise<readonly SampledRollout[]>;
  /**
   * As `sample`, for a run that goes on learning meanwhile (`maxStaleness`): resolves when the policy of the request is needed here no more,
   * with what gives the rollouts. The signal ends both. Absent: it cannot, as what samples from the run's own tensors.
   */
  sampleAhead?(request: RolloutRequest<Row>): Promise<() => Promise<readonly SampledRollout[]>>;
  /**
   * Goes on with completions that have begun, and begins others, for `partialRollouts`: of each group a segment of each of its completions. It keeps nothing of
   * them. Absent: it cannot.
   */
  goOn?(request: SamplingRequest, groups: readonly OpenGroup[]): Promise<readonly (readonly Segment[])[]>;
  /**
   * What has come of the last rollouts, after the step's updates: with their rewards and advantages. What it learns from them is its
   * `state`.
   */
  feedback?(rollouts: readonly Rollout[], context: FeedbackContext): void | Promise<void>;
}

/** The policy of a request as a generator. */
export const generatorOf = ({ model, adapter, maxBatch, packWeights }: SamplingRequest): LocalGenerator =>
  new LocalGenerator(model, { adapter: () => adapter, maxBatch, packWeights });

/** 48 random bits: completions use consecutive seeds, which do not meet those of another prompt but by rare chance. */
export function seedOf(key: Key): number {
  const [high, low] = key.uniformHost(2);
  return high! * 2 ** 48 + low! * 2 ** 24;
}
