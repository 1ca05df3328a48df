import { Key } from '@posttrain/core-tensor';
import { addSettings, type DecisiveSettings, OptionError, settingsOf, showValue } from '@posttrain/interfaces';
import { type Metrics, RowOrder, rowsIdentity, type Trainer } from '@posttrain/training';
import type { Stateful } from '../stateful.js';
import { preferenceData } from './preference-data.js';
import type { PreferenceData, PreferenceKind, PreferenceSettings } from './preference-kind.js';
import {
  type AnyPreferenceRow,
  isPreferenceSource,
  type PreferenceBatch,
  type PreferenceSource,
} from './preference-source.js';

/** What a step trains on: some of rows that are ready. */
export interface FedPreferences {
  readonly data: PreferenceData;
  readonly indices: readonly number[];
  readonly metrics: Metrics;
}

/** Where the preferences of every step come from. */
export interface PreferenceFeed extends Partial<Stateful> {
  /** What decides a run of it. */
  readonly identity: DecisiveSettings;
  readonly steps: number;
  /** Whether a source is asked anew in every step. */
  readonly isSource: boolean;
  readonly dropped: number;
  readonly identical: number;
  take(step: number, trainer: Trainer, signal: AbortSignal | undefined): Promise<FedPreferences>;
}

/** Settings of a run that a feed depends on. */
interface FeedSettings extends PreferenceSettings {
  readonly rows: unknown;
  readonly epochs: number;
  readonly steps?: number;
  readonly batchSize: number;
  readonly seed: number;
}

/** The preferences of a run, step by step: from a list, or from a source that is asked anew. @throws OptionError, PreferenceRowError */
export const preferenceFeed = (
  where: string,
  kind: PreferenceKind<AnyPreferenceRow>,
  settings: FeedSettings,
): Promise<PreferenceFeed> =>
  isPreferenceSource(settings.rows)
    ? fromSource(where, settings.rows, kind, settings)
    : fromList(where, settings.rows as readonly AnyPreferenceRow[], kind, settings);

async function fromList(
  where: string,
  given: Iterable<AnyPreferenceRow>,
  kind: PreferenceKind<AnyPreferenceRow>,
  settings: FeedSettings,
): Promise<PreferenceFeed> {
  const { epochs, batchSize, seed } = settings;
  const data = await preferenceData(where, 'rows', given, kind, settings);
  const { rows, dropped, identical } = data;
  const order = new RowOrder(rows.length, seed);
  // With steps every update is a whole one.
  const total = settings.steps === undefined ? Math.ceil(epochs * rows.length) : settings.steps * batchSize;
  return {
    ...{ identity: rowsIdentity(rows), steps: Math.ceil(total / batchSize), isSource: false, dropped, identical },
    async take(step) {
      const last = Math.min((step + 1) * batchSize, total);
      const indices = Array.from({ length: last - step * batchSize }, (_, i) => order.at(step * batchSize + i));
      return { data, indices, metrics: { epoch: last / rows.length } };
    },
  };
}

async function fromSource(
  where: string,
  source: PreferenceSource,
  kind: PreferenceKind<AnyPreferenceRow>,
  settings: FeedSettings,
): Promise<PreferenceFeed> {
  const { steps, seed, batchSize, adapter, reference, maxLength, model, onWarning, onProgress } = settings;
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', where, option, problem);
  if (steps === undefined) throw wrong('steps', `steps is missing: the source ${source.name} has no epochs.`);
  if ((source.state === undefined) !== (source.load === undefined)) {
    const has = source.state ? 'state() and no load()' : 'load() and no state()';
    throw wrong(
      'rows',
      `the source ${source.name} has ${has}: a resumed run would go on from something else. Give it both.`,
    );
  }
  const identity: Record<string, DecisiveSettings[string]> = {};
  addSettings(identity, 'rows', settingsOf(source));
  const said = { ...(onWarning && { onWarning }), ...(onProgress && { onProgress }) };
  const begun = (await source.begin?.({ model, ...(adapter && { adapter }), seed, maxLength, ...said })) ?? {};
  for (const [name, value] of Object.entries(begun)) identity[`rows.${name}`] = value;
  // The same digits after an interruption: weights that change start anew at each step by themselves.
  const packWeights = adapter ? ('at-once' as const) : ('auto' as const);
  return {
    ...{ identity, steps, isSource: true, dropped: 0, identical: 0 },
    ...(source.state && { state: () => source.state!(), load: (state: unknown) => source.load!(state) }),
    async take(step, trainer, signal) {
      signal?.throwIfAborted();
      const key = Key.fromSeed(seed).child(step);
      const policy = { model: trainer.model, adapter: trainer.adapter, packWeights };
      const compared = { reference: reference.adapter, referenceModel: reference.model };
      const given = await source.next({ count: batchSize, step, key, ...policy, ...compared, maxLength, signal });
      // A source of rows of any training gives them with what belongs to each.
      const batch: PreferenceBatch = Array.isArray(given) ? { rows: given.map((it) => it?.row) } : given;
      if (!Array.isArray(batch?.rows) || batch.rows.length > batchSize) {
        const gave = Array.isArray(batch?.rows) ? `${batch.rows.length} rows` : showValue(batch);
        throw wrong('rows', `rows: the source ${source.name} gave ${gave} where at most ${batchSize} were asked for.`);
      }
      const odd = batch.rows.findIndex((row: unknown) => typeof row !== 'object' || row === null);
      if (odd >= 0) {
        const given = showValue(batch.rows[odd]);
        throw wrong(
          'rows',
          `rows: the source ${source.name} gave ${given} as row ${odd}; every row must be an object.`,
        );
      }
      const data = await kind.ready(batch.rows);
      signal?.throwIfAborted();
      return { data, indices: data.rows.map((_, i) => i), metrics: batch.metrics ?? {} };
    },
  };
}
