import type { DecisiveSettings } from '@posttrain/interfaces';
import type { AnyLoss, CoupledLoss, TrainingRow, UpdateRule } from '@posttrain/training';
import type { RolloutNeed } from './advantage/advantage.js';
import type { AggregationContext } from './aggregation/aggregation.js';
import type { Annotator } from './annotator.js';
import type { BesideLoss } from './beside-loss.js';
import type { Rollout } from './rollout.js';

/**
 * What a policy may be trained by: a loss over tokens, one over readouts of the pass (hidden states, divergences, with groups of any
 * size), or one in which all rows of a step meet.
 */
export type PolicyLoss = AnyLoss | CoupledLoss;

/** What the loss of an objective is made for. */
export interface LossContext {
  /** What completions are sampled at. */
  readonly temperature: number;
}

/** Rows of an objective's own, and what else the step has come to. */
export interface ObjectiveRows {
  readonly rows: readonly TrainingRow[];
  /** One for each rollout, or one for each of its tokens: for completions.jsonl, annotators and sources. Default: 0. */
  readonly advantages?: readonly (number | ArrayLike<number>)[];
  /** The numbers that the loss names by `scalars`. */
  readonly scalars?: Readonly<Record<string, number>>;
}

/**
 * An objective that is no composition of the five parts: rows of its own of a step's rollouts, and any loss over them. Minimum risk
 * training is one, whose loss meets all candidates of a prompt.
 */
export interface LossObjective {
  /** For reports. */
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Whether rollouts must have log π_ref. Default false. */
  readonly needsReference?: boolean;
  /** What every rollout must have; a run in which nothing gives it is refused before its first step. Default: nothing. */
  readonly needs?: readonly RolloutNeed[];
  /** It compares completions of one prompt. Default false. */
  readonly needsGroup?: boolean;
  /** The loss; as a function, made once for the run. */
  readonly loss: PolicyLoss | ((context: LossContext) => PolicyLoss);
  /** The rows of a step. One of which every weight is 0 has no part in it. */
  rows(rollouts: readonly Rollout[], context: AggregationContext): ObjectiveRows;
  /** As of the five parts. */
  readonly annotators?: readonly Annotator[];
  /** As of the five parts; not with a coupled loss, which takes two passes. */
  readonly update?: UpdateRule;
  /** As of the five parts. */
  readonly beside?: BesideLoss;
}
