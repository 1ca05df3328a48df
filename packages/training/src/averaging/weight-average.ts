import { type Engine, realize } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { DecisiveSettings } from '@posttrain/interfaces';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';

/** What a weight average keeps from update to update, by the name of the parameter: part of a run's checkpoints. */
export interface Averages extends Readonly<Record<string, Named>> {
  /** The average: what training shall end with. */
  readonly average: Named;
}

/** An average of the weights over the updates of a run, beside the run: it changes nothing in it. */
export interface WeightAverage {
  /** Letters only: it is in the names of tensors of checkpoints, and in the name of a folder. */
  readonly name: string;
  /** What decides the result. */
  readonly settings: DecisiveSettings;
  /** What is kept before the first update. @param start in memory of their own */
  init(start: Named): Averages;
  /**
   * What is kept after an update; undefined where nothing changes.
   *
   * @param update counted from 1
   * @param parameters donated to the next update: what is kept of them is computed or copied
   */
  update(
    update: number,
    parameters: Named,
    kept: Averages,
    context: AveragingContext,
  ): Promise<Averages | undefined> | Averages | undefined;
}

/** What an update of an average may need beside the weights. */
export interface AveragingContext {
  readonly engine: Engine;
  /** The parameters in memory of their own. */
  copy(): Promise<Named>;
}

/** What a weight average must be. */
export const WEIGHT_AVERAGE = 'a weight average, such as bema()';

export const isWeightAverage = (value: unknown): boolean => {
  const average = value as Partial<Record<keyof WeightAverage, unknown>> | null | undefined;
  const isNamed = typeof average?.name === 'string' && /^[A-Za-z]+$/.test(average.name);
  return isNamed && typeof average.init === 'function' && typeof average.update === 'function';
};

const keptName = ({ name }: WeightAverage): string => `average-${name}`;

const flat = (averages: Averages): Named =>
  Object.fromEntries(
    Object.entries(averages).flatMap(([kind, named]) =>
      Object.entries(named).map(([name, x]) => [`${kind}.${name}`, x] as const),
    ),
  );

/** What a trainer keeps of an average; undefined before it has begun. */
export function averagesOf<M extends TrainableModel>(
  trainer: Trainer<M>,
  average: WeightAverage,
): Averages | undefined {
  const kept = trainer.kept(keptName(average));
  if (!kept) return undefined;
  const kinds: Record<string, Record<string, Named[string]>> = {};
  for (const [key, x] of Object.entries(kept)) {
    const at = key.indexOf('.');
    kinds[key.slice(0, at)] = { ...kinds[key.slice(0, at)], [key.slice(at + 1)]: x };
  }
  return kinds as unknown as Averages;
}

/** Begins an average, where the trainer has none from a checkpoint. */
export async function beginAverage<M extends TrainableModel>(
  trainer: Trainer<M>,
  average: WeightAverage,
): Promise<void> {
  if (averagesOf(trainer, average)) return;
  trainer.keep(keptName(average), flat(average.init(await trainer.copyParameters())));
}

/** Takes the weights after an update into an average. */
export async function updateAverage<M extends TrainableModel>(
  trainer: Trainer<M>,
  average: WeightAverage,
): Promise<void> {
  const before = averagesOf(trainer, average)!;
  const context = { engine: trainer.model.network.engine, copy: () => trainer.copyParameters() };
  const after = await average.update(trainer.step, trainer.parameters, before, context);
  if (!after) return;
  const kept = flat(after);
  await realize(Object.values(kept), { engine: context.engine });
  trainer.keep(keptName(average), kept);
}
