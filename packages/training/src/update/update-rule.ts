import { realize } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { type DecisiveSettings, PosttrainError, showValue } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import type { UpdateResult } from '../run/update.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import { firstUnlike } from '../trainer/parameters.js';
import type { StepInputs } from '../trainer/step-options.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What a rule is told beside rows and loss. */
export interface UpdateInputs extends StepInputs {
  /** What the schedule of the run says. */
  readonly learningRate: number;
}

/** What a rule gives: what every update does, and its state where it has one. */
export interface RuleResult extends UpdateResult {
  /** The state for the next update, by the names of `init` and of the same shapes. */
  readonly state?: Named;
}

/**
 * How an update is made of rows and a loss, where it is not the gradient's step of an optimizer: within a trust region
 * (TRPO), of gradients of rows (DP-SGD), by an estimate of the Hessian (Sophia). It is written with what a `Trainer` has. What it
 * keeps from update to update is its state, which goes into checkpoints, and nothing else: a run that goes on is the same run.
 */
export interface UpdateRule {
  readonly name: string;
  /** What it was made with, which a resumed run must share. */
  readonly settings: DecisiveSettings;
  /**
   * Whether it compares values of the loss, so that a loss of which the gradient alone is right will not do. Default
   * false.
   */
  readonly needsValue?: boolean;
  /**
   * What it divides the sum over rows by, where that is not their number: then an update may have no row, as Poisson sampling
   * gives some.
   */
  readonly expectedBatchSize?: number;
  /** The state before the first update: tensors by names of its own, one or more. Left out: it has none. */
  init?(variables: Named): Named;
  /**
   * One update, which `trainer.step` counts: by `optimStep`, or by `assign` with `countsStep`. Call it by `updateByRule`, which
   * holds the state.
   *
   * @param state what `init` or the update before gave; it is not changed in place. Nothing where there is no `init`
   */
  update<M extends TrainableModel>(
    trainer: Trainer<M>,
    rows: readonly TrainingRow[],
    loss: AnyLoss,
    inputs: UpdateInputs,
    state?: Named,
  ): Promise<RuleResult>;
}

/** A rule that does not do what an update must. Code `UPDATE_RULE`. */
export class UpdateRuleError extends PosttrainError {
  constructor(rule: string, step: number, problem: string) {
    super('UPDATE_RULE', `update ${rule}, step ${step}: ${problem}`);
  }
}

/**
 * One update of a trainer by a rule, whose state is in the trainer's snapshots: a run that is killed and resumed goes on with it.
 *
 * @throws UpdateRuleError for a rule that gives no result, a loss or norm that is not finite, a state of other names or shapes, or
 *   that does not count one step; what the rule throws
 */
export async function updateByRule<M extends TrainableModel>(
  trainer: Trainer<M>,
  rule: UpdateRule,
  rows: readonly TrainingRow[],
  loss: AnyLoss,
  inputs: UpdateInputs,
): Promise<UpdateResult> {
  const { step } = trainer;
  const wrong = (problem: string) => new UpdateRuleError(rule.name, step, problem);
  const start = rule.init?.(trainer.variables);
  if (start && Object.keys(start).length === 0)
    throw wrong('init gave no tensor; leave it out where there is no state.');
  const before = start && (trainer.kept(rule.name) ?? start);
  const other = start && firstUnlike(start, before!);
  if (other)
    throw wrong(`the state that was kept has nothing of the shape of ${other}; it is of another rule or model.`);
  const given: unknown = await rule.update(trainer, rows, loss, inputs, before);
  if (!isResult(given)) throw wrong(`it gave ${showValue(given)}; give { loss, metrics, tokens, gradNorm }.`);
  const { state, ...result } = given;
  for (const name of ['loss', 'tokens', 'gradNorm'] as const) {
    if (Number.isFinite(result[name])) continue;
    throw wrong(`${name} is ${showValue(result[name])}; give a finite number, or throw before anything is changed.`);
  }
  if (trainer.step !== step + 1) {
    const problem = `it made ${trainer.step - step} updates; call optimStep, or assign with countsStep, once.`;
    throw wrong(problem);
  }
  if (start) {
    const lost = state ? firstUnlike(start, state) : Object.keys(start)[0];
    if (lost !== undefined) throw wrong(`the state it gave has nothing of the shape of ${lost}, which init has.`);
    const next = Object.fromEntries(Object.keys(start).map((name) => [name, state![name]!]));
    await realize(Object.values(next), { engine: trainer.model.network.engine });
    trainer.keep(rule.name, next);
  } else if (state)
    throw wrong('it gave a state and has no init; say there what the state is before the first update.');
  return result;
}

const isResult = (given: unknown): given is RuleResult =>
  typeof given === 'object' && given !== null && typeof (given as Partial<RuleResult>).metrics === 'object';

/** What an update rule may be given as, in words. */
export const UPDATE_RULE = 'a rule for updates, such as dpSgd({ maxGradNorm, noiseMultiplier })';

/** Whether a value is an update rule. */
export const isUpdateRule = (value: unknown): boolean =>
  typeof (value as Partial<UpdateRule> | null | undefined)?.update === 'function';
