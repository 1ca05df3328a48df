import { createHash } from 'node:crypto';
import { leavesOf, type Tensor } from '@posttrain/core-tensor';
import {
  addSettings,
  type DecisiveSettings,
  NOT_GIVEN,
  nearestName,
  OptionError,
  type SettingDifference,
  settingDifferences,
  settingsOf,
  showDifferences,
} from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER } from '@posttrain/lm';
import type { TrainableModel } from '../trainer/trainable-model.js';
import { CheckpointError } from './checkpoint.js';

/** 16 hexadecimal digits of the SHA-256 of values, in order: of rows with all that is in them. */
export function contentHash(items: Iterable<unknown>): string {
  const hash = createHash('sha256');
  for (const item of items) hash.update(`${JSON.stringify(item, writable) ?? 'undefined'}\n`);
  return hash.digest('hex').slice(0, 16);
}

/** Resolution of the hash of rows: they are hashed in at most this many blocks of equal size. */
const MOST_GROUPS = 64;
/** Settings that only say more of rows that differ: a checkpoint may lack them. */
const OF_ROWS = ['rows.count', 'rows.groups'];

/**
 * What stands for the rows of a run: a digest of all, and, so that an error can say what has changed, how many there are and
 * digests of groups of them in order (of every row, where there are few).
 */
export function rowsIdentity(rows: readonly unknown[]): DecisiveSettings {
  const size = groupSize(rows.length);
  const groups = Array.from({ length: Math.ceil(rows.length / size) }, (_, i) =>
    contentHash(rows.slice(i * size, (i + 1) * size)).slice(0, 8),
  );
  return { rows: contentHash(rows), 'rows.count': rows.length, 'rows.groups': groups.join(' ') };
}

/** A power of two, so that data sets of nearly the same size have the same. */
const groupSize = (count: number): number => 2 ** Math.max(0, Math.ceil(Math.log2(count / MOST_GROUPS)));

/** What differs between the rows of two runs, as far as their settings say. */
function rowsThatDiffer(saved: DecisiveSettings, current: DecisiveSettings): string {
  const [was, is] = [saved['rows.count'], current['rows.count']];
  if (typeof was !== 'number' || typeof is !== 'number') return '';
  const counts = was === is ? `of ${is} rows` : `there were ${was} rows and are ${is}`;
  const size = groupSize(was);
  if (size !== groupSize(is)) return ` (${counts})`;
  const [before, now] = [saved, current].map((settings) => String(settings['rows.groups']).split(' '));
  const first = now!.findIndex((group, i) => group !== before![i]);
  const at = first < 0 ? is : first * size;
  const where = size === 1 || at >= is ? `row ${at}` : `one of the rows ${at} to ${Math.min(at + size, is) - 1}`;
  return ` (${counts}; the first that differs is ${where})`;
}

/** What JSON would leave out or refuse, as text. */
function writable(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (typeof value === 'function') return String(value);
  if (value instanceof Map || value instanceof Set) return [...value];
  return value;
}

type IdentifiedModel = Pick<TrainableModel, 'config' | 'weights'>;
const ofModels = new WeakMap<IdentifiedModel, Promise<DecisiveSettings>>();

/** The base model of a run: its config, and the SHA-256 over all of its weights, computed once for a model. */
export function modelIdentity(model: IdentifiedModel): Promise<DecisiveSettings> {
  const known = ofModels.get(model) ?? digestOf(model);
  ofModels.set(model, known);
  return known;
}

const digestOf = async (model: IdentifiedModel): Promise<DecisiveSettings> => ({
  'model.config': contentHash([model.config]),
  'model.weights': await tensorsHash(Object.entries(model.weights)),
});

/** What stands for an adapter whose numbers stay as they are, such as a reference: what it is, and a digest of its tensors. */
export async function adapterIdentity(name: string, adapter: Adapter): Promise<DecisiveSettings> {
  if (adapter === NO_ADAPTER) return { [name]: 'the base model' };
  const identity = 'identity' in adapter ? adapter.identity : { hooks: adapter.hooks };
  const settings: Record<string, DecisiveSettings[string]> = {};
  addSettings(settings, name, settingsOf(identity));
  const leaves = leavesOf(adapter.parameters as Parameters<typeof leavesOf>[0]);
  settings[`${name}.parameters`] = await tensorsHash(leaves.map(({ path, tensor }) => [path, tensor] as const));
  return settings;
}

/** 16 hexadecimal digits of the SHA-256 of tensors by name, whatever their order. */
export async function tensorsHash(tensors: readonly (readonly [name: string, tensor: Tensor])[]): Promise<string> {
  const hash = createHash('sha256');
  for (const [name, tensor] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const data = await tensor.data();
    // The reference engine computes in float64.
    const stored = data instanceof Float64Array ? Float32Array.from(data) : data;
    hash.update(`${name} ${tensor}\n`);
    hash.update(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
  }
  return hash.digest('hex').slice(0, 16);
}

export interface Comparison {
  /** The checkpoint's folder, to be named. */
  readonly folder: string;
  readonly saved: DecisiveSettings;
  readonly current: DecisiveSettings;
  /** Settings that may differ, by their names or by what these begin with up to a dot. */
  readonly allowChanged?: readonly string[];
}

/**
 * Throws when a run with these settings would go on from a checkpoint of a run with others, naming each that differs with
 * its old and its new value.
 *
 * @throws CheckpointError; OptionError when `allowChanged` names what does not exist
 */
export function refuseOtherSettings({ folder, saved, current, allowChanged = [] }: Comparison): void {
  const names = [...new Set([...Object.keys(saved), ...Object.keys(current)])];
  const isOf = (name: string, allowed: string) => name === allowed || name.startsWith(`${allowed}.`);
  for (const allowed of allowChanged) {
    if (names.some((name) => isOf(name, allowed))) continue;
    const near = nearestName(allowed, names);
    const hint = near ? ` Did you mean "${near}"?` : ` There are ${names.join(', ')}.`;
    throw new OptionError('INVALID_OPTION', 'allowChanged', allowed, `there is no setting "${allowed}".${hint}`);
  }
  const changed = settingDifferences(saved, current).filter(
    ({ name }) => !OF_ROWS.includes(name) && !allowChanged.some((allowed) => isOf(name, allowed)),
  );
  const shown = changed.map((difference) =>
    difference.name === 'rows'
      ? { ...difference, is: `${difference.is}${rowsThatDiffer(saved, current)}` }
      : difference,
  );
  if (changed.length > 0) throw otherRun(folder, shown);
}

function otherRun(folder: string, changed: readonly SettingDifference[]) {
  return new CheckpointError(
    folder,
    `belongs to another run: ${showDifferences(changed)}. Use another outputFolder, or the same options; to go on with other values on purpose, ` +
      `give allowChanged: [${changed.map(({ name }) => `'${name}'`).join(', ')}].`,
  );
}

/** Settings that checkpoints of earlier versions have under the same names and with the same meaning. */
const SHARED_WITH_EARLIER = [
  ...[
    'steps',
    'learningRate',
    'schedule',
    'warmupSteps',
    'maxGradNorm',
    'fp16',
    'optimizer',
    'seed',
    'batchSize',
    'epochs',
  ],
  ...[
    'promptsPerStep',
    'completionsPerPrompt',
    'iterationsPerBatch',
    'oldLogProbs',
    'maxCompletionLength',
    'maxLength',
  ],
  ...[
    'maskTruncatedCompletions',
    'objective',
    'loss',
    'temperature',
    'topK',
    'topP',
    'minP',
    'repetitionPenalty',
    'data',
  ],
];

/**
 * `refuseOtherSettings` with a checkpoint of an earlier version, which wrote down less.
 *
 * @returns the names of the settings that could not be compared
 */
export function refuseOtherEarlierSettings({ folder, saved, current, allowChanged = [] }: Comparison): string[] {
  const comparable = SHARED_WITH_EARLIER.filter((name) => name in saved && name in current);
  const text = (value: unknown) => (value === 'undefined' ? NOT_GIVEN : String(value));
  const texts = (settings: DecisiveSettings) =>
    Object.fromEntries(comparable.map((name) => [name, text(settings[name])]));
  const changed = settingDifferences(texts(saved), texts(current)).filter(({ name }) => !allowChanged.includes(name));
  if (changed.length > 0) throw otherRun(folder, changed);
  return Object.keys(current).filter((name) => !comparable.includes(name));
}
