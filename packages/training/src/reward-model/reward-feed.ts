import { Key } from '@posttrain/core-tensor';
import { addSettings, type DecisiveSettings, OptionError, PosttrainError, settingsOf } from '@posttrain/interfaces';
import { collectRows, type Rows } from '../run/collect-rows.js';
import { rowsIdentity } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import { isRowSource, type RowSource, rowsOfSource } from '../run/row-source.js';
import { type RunOptions, warn } from '../run/run-options.js';
import type { RewardExample, RewardModel, RewardModelLoss } from './reward-model-loss.js';

/** What examples are made with. */
export interface RewardFeedSettings extends Pick<RunOptions, 'onWarning'> {
  readonly model: RewardModel;
  readonly loss: RewardModelLoss;
  readonly maxLength: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly epochs: number;
  readonly steps?: number | undefined;
}

/** Where the examples of every update come from. */
export interface RewardFeed {
  /** What decides a run of it. */
  readonly identity: DecisiveSettings;
  readonly steps: number;
  /** Rows left out so far. */
  readonly dropped: number;
  take(step: number): Promise<{ readonly examples: readonly RewardExample[]; readonly epoch?: number }>;
  /** All that the next rows depend on beside the step, as `RowSource` has it; undefined where there is nothing. */
  state?(): unknown;
  load?(state: unknown): void | Promise<void>;
}

/** The examples of a run: of a list of rows, or of a source that is asked anew. @throws OptionError, RewardRowError, PosttrainError */
export const rewardFeedOf = (
  where: string,
  rows: Rows<object> | RowSource<object>,
  settings: RewardFeedSettings,
): Promise<RewardFeed> =>
  isRowSource(rows) ? fromSource(where, rows as RowSource<object>, settings) : fromRows(where, rows, settings);

async function fromRows(where: string, given: Rows<object>, settings: RewardFeedSettings): Promise<RewardFeed> {
  const { batchSize, seed, epochs } = settings;
  const { examples, dropped } = await examplesOf(where, 'rows', given, settings);
  const order = new RowOrder(examples.length, seed);
  // With steps every update is a whole one.
  const seen = settings.steps === undefined ? Math.ceil(epochs * examples.length) : settings.steps * batchSize;
  return {
    ...{ identity: rowsIdentity(examples), steps: Math.ceil(seen / batchSize), dropped },
    async take(step) {
      const first = step * batchSize;
      const last = Math.min(first + batchSize, seen);
      const batch = Array.from({ length: last - first }, (_, i) => examples[order.at(first + i)]!);
      return { examples: batch, epoch: last / examples.length };
    },
  };
}

async function fromSource(where: string, source: RowSource<object>, settings: RewardFeedSettings): Promise<RewardFeed> {
  const { steps, batchSize: count, seed, maxLength } = settings;
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', where, option, problem);
  if (steps === undefined) {
    const problem = `steps is missing; say how many updates there are. Rows of a source (${source.name}) have no epochs.`;
    throw wrong('steps', problem);
  }
  if ((source.state === undefined) !== (source.load === undefined)) {
    throw wrong('rows', 'state() and load() come together: a resumed run would go on from something else.');
  }
  const identity: Record<string, DecisiveSettings[string]> = { maxLength };
  addSettings(identity, 'rows', settingsOf(source));
  let dropped = 0;
  return {
    ...{ identity, steps },
    get dropped() {
      return dropped;
    },
    ...(source.state && { state: () => source.state!(), load: (state: unknown) => source.load!(state) }),
    async take(step) {
      const given = await rowsOfSource(where, source, { count, step, key: Key.fromSeed(seed).child(step) });
      const rows = given.map(({ row }) => row);
      // What is left out is counted, and said once.
      const said = dropped > 0 ? { ...settings, onWarning: () => {} } : settings;
      const made = readyExamples(`${where}, step ${step}`, 'rows', rows, said);
      dropped += made.dropped;
      return { examples: made.examples };
    },
  };
}

/** The examples of rows that teach something. Says what is left out, and why. @throws RewardRowError, PosttrainError */
export async function examplesOf(
  where: string,
  option: 'rows' | 'evaluationRows',
  given: Rows<object>,
  settings: RewardFeedSettings,
): Promise<{ readonly examples: readonly RewardExample[]; readonly dropped: number }> {
  const { rows } = await collectRows(where, given, settings, option);
  return readyExamples(where, option, rows, settings);
}

function readyExamples(
  where: string,
  option: 'rows' | 'evaluationRows',
  rows: readonly object[],
  settings: RewardFeedSettings,
): { readonly examples: readonly RewardExample[]; readonly dropped: number } {
  const { model, loss, maxLength } = settings;
  const examples: RewardExample[] = [];
  const reasons = new Map<string, number>();
  rows.forEach((row, index) => {
    const example = loss.example(model, row, { index, maxLength, isHeldOut: option === 'evaluationRows' });
    if (typeof example === 'string') reasons.set(example, (reasons.get(example) ?? 0) + 1);
    else examples.push(example);
  });
  const said = [...reasons].map(([reason, count]) => `${count} of ${rows.length} ${option} ${reason}`);
  if (examples.length === 0)
    throw new PosttrainError('REWARD_ROWS', `${where}: no ${option} are left: ${said.join('; ')}`);
  for (const one of said) warn(settings, `${where}: left out: ${one}`);
  return { examples, dropped: rows.length - examples.length };
}
