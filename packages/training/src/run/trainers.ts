import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';
import type { TrainerSnapshot } from './checkpoint.js';

/** All that a run trains. */
export interface TrainersOfRun {
  readonly trainer: Trainer<TrainableModel>;
  readonly others?: Readonly<Record<string, Trainer<TrainableModel>>> | undefined;
}

/** What tensors in a checkpoint begin with that are of the run's own trainer. */
const TAKEN = ['parameters', 'state', 'lossScale', 'kept'];

/** Refuses names of further trainers that a checkpoint could not keep apart. @throws PosttrainError TRAINER_NAME */
export function checkNames(stage: string, { others = {} }: TrainersOfRun): void {
  const wrong = Object.keys(others).find((name) => !/^[A-Za-z][\w-]*$/.test(name) || TAKEN.includes(name));
  if (wrong === undefined) return;
  const problem = `must be letters, digits, - and _, and none of ${TAKEN.join(', ')}`;
  throw new PosttrainError('TRAINER_NAME', `${stage}: "${wrong}" of others cannot name a trainer: it ${problem}`);
}

/** Every trainer, with what the names of its tensors begin with in a checkpoint: nothing for the run's own. */
export const trainersOf = ({ trainer, others = {} }: TrainersOfRun): (readonly [string, Trainer<TrainableModel>])[] => [
  ['', trainer],
  ...Object.entries(others).map(([name, other]) => [`${name}.`, other] as const),
];

/** The updates that all trainers have made. */
export const updatesOf = (run: TrainersOfRun): number => trainersOf(run).reduce((sum, [, { step }]) => sum + step, 0);

/** What all trainers train, as it is now. */
export const parametersOf = (run: TrainersOfRun): Named =>
  Object.assign({}, ...trainersOf(run).map(([prefix, { parameters }]) => prefixed(prefix, parameters)));

/** The same in memory of their own, under the names that they have in a checkpoint. */
export async function copyParameters(run: TrainersOfRun): Promise<Named> {
  const copies = trainersOf(run).map(async ([prefix, trainer]) =>
    prefixed(`${prefix}${PARAMETERS}`, await trainer.copyParameters()),
  );
  return Object.assign({}, ...(await Promise.all(copies)));
}

/** Gives all trainers the parameters that a checkpoint has; the optimizers' states and steps stay. */
export function loadParameters(run: TrainersOfRun, saved: Named): void {
  for (const [prefix, trainer] of trainersOf(run)) {
    const { step, tensors } = trainer.snapshot();
    const loaded = Object.entries(tensors).map(([name, now]) => {
      return [name, name.startsWith(PARAMETERS) ? (saved[`${prefix}${name}`] ?? now) : now] as const;
    });
    trainer.restore({ step, tensors: Object.fromEntries(loaded) });
  }
}

/** The snapshots of all trainers as one; the step is that of the run's own. */
export function snapshotOf(run: TrainersOfRun): TrainerSnapshot {
  const tensors = trainersOf(run).map(([prefix, trainer]) => prefixed(prefix, trainer.snapshot().tensors));
  return { step: run.trainer.step, tensors: Object.assign({}, ...tensors) };
}

/** The updates of the further trainers, by name. */
export const stepsOfOthers = ({ others = {} }: TrainersOfRun): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(others).map(([name, { step }]) => [name, step]));

/** Puts all trainers into the state of a snapshot. @throws PosttrainError RESUME where a tensor of one is not in it */
export function restoreTrainers(
  run: TrainersOfRun,
  { step, tensors }: TrainerSnapshot,
  steps: Readonly<Record<string, number>>,
): void {
  for (const [prefix, trainer] of trainersOf(run)) {
    const own = Object.entries(tensors).flatMap(([name, x]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), x] as const] : [],
    );
    trainer.restore({ step: prefix ? (steps[prefix.slice(0, -1)] ?? 0) : step, tensors: Object.fromEntries(own) });
  }
}

const PARAMETERS = 'parameters.';

const prefixed = (prefix: string, tensors: Readonly<Record<string, Tensor>>): Named =>
  Object.fromEntries(Object.entries(tensors).map(([name, x]) => [`${prefix}${name}`, x]));
