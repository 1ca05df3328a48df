import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createAdapter, loadAdapter, type PeftAdapter, peftMethods } from '@posttrain/peft';
import { bema, ema, type Tracker, tensorBoard, type WeightAverage } from '@posttrain/training';
import { choiceOf, made } from '../options/choice.js';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys } from '../options/names.js';

type AnyModel = Parameters<typeof loadAdapter>[0];

/** What options are made with. */
export interface MakeContext {
  readonly model: AnyModel;
  readonly outputFolder: string;
  readonly seed: number;
}

/** Makes the value of an option that is given as a text. */
export type Make = (value: unknown, context: MakeContext) => unknown;

/** `LORA` as it is typed. */
const adapterNames = new Map(
  Object.keys(peftMethods).map((type) => [type.toLowerCase().replaceAll('_', '-'), type as keyof typeof peftMethods]),
);

/** A new adapter by its method, or one of a folder. @throws CommandLineError; what `createAdapter` and `loadAdapter` throw */
export async function makeAdapter(value: unknown, { model, seed }: MakeContext): Promise<PeftAdapter> {
  if (typeof value === 'string' && !adapterNames.has(value.toLowerCase())) {
    const found = await stat(value).catch(() => undefined);
    if (found?.isDirectory()) return loadAdapter(model, value);
  }
  const choice = choiceOf('--adapter', value, [...adapterNames.keys()], 'lora');
  const method = peftMethods[adapterNames.get(choice.name)!];
  // Its options are checked by their declaration before anything is made.
  made('--adapter', choice, (options) =>
    (method as { readonly options: { read(given: object): unknown } }).options.read(options),
  );
  return createAdapter(model, method as never, choice.options as never, { seed }) as Promise<PeftAdapter>;
}

/** An adapter to compare with. */
export const makeReference: Make = async (value, { model }) => {
  const folder = String(value);
  const names = await readdir(folder).catch(() => [] as string[]);
  if (names.includes('adapter_config.json')) return loadAdapter(model, folder);
  throw new CommandLineError(`--reference ${folder}: must be the folder of an adapter, with adapter_config.json.`);
};

const averages = { bema, ema } as const;

const makeAverage: Make = (value): WeightAverage => {
  const choice = choiceOf('--weight-average', value, Object.keys(averages));
  return made(
    '--weight-average',
    choice,
    averages[choice.name as keyof typeof averages] as (options: never) => WeightAverage,
  );
};

const makeTrackers: Make = (value, { outputFolder }): readonly Tracker[] =>
  (Array.isArray(value) ? value : [value]).map((one) => {
    choiceOf('--trackers', one, ['tensorboard']);
    return tensorBoard({ folder: join(outputFolder, 'tensorboard') });
  });

/** What every training makes of texts. Models and rows are read before. */
export const commonMakers: Readonly<Record<string, Make>> = {
  adapter: makeAdapter,
  weightAverage: makeAverage,
  trackers: makeTrackers,
  optimizer: camelKeys,
  scheduleSettings: camelKeys,
  lossScaling: camelKeys,
  offloadOptimizer: camelKeys,
};
