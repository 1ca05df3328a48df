import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { custom, type Given, options, PosttrainError } from '@posttrain/interfaces';
import { writing } from '@posttrain/interfaces/node';
import { encodeEvent, type ScalarEvent, tfRecord } from './event-file.js';
import type { Metrics } from './metrics.js';
import type { Tracker } from './tracker.js';

const tensorBoardOptions = options('tensorBoard', {
  /** Where the event file goes: what `tensorboard --logdir` is given, or a folder in it. */
  folder: custom<string>()('the path of a folder', (value) => typeof value === 'string' && value !== '', {}),
});
/** Options of `tensorBoard`. */
export type TensorBoardOptions = Given<typeof tensorBoardOptions>;

const NAME = /^events\.out\.tfevents\.(\d+)\./;

/** The tags of transformers' TensorBoardCallback: `eval/loss` for `eval_loss`, `train/loss` for `loss`. */
const tagOf = (name: string): string => (name.startsWith('eval_') ? `eval/${name.slice(5)}` : `train/${name}`);

/**
 * Writes TensorBoard event files (`events.out.tfevents.*`): a scalar for every metric, at the number of steps done. Every
 * entry is appended as whole records at once, so the file of a run that was killed can be read. A run that goes on
 * writes a file of its own, which begins with what makes TensorBoard forget what the attempt before logged from there on.
 *
 * @throws OptionError; of `open`, FileError
 */
export function tensorBoard(given: TensorBoardOptions, now: () => number = Date.now): Tracker {
  const { folder } = tensorBoardOptions.read(given);
  let file: FileHandle | undefined;
  const write = async (...events: Omit<ScalarEvent, 'wallTime'>[]) => {
    if (!file) throw new PosttrainError('TRACKER', 'tensorBoard: call open before log');
    const records = events.map((event) => tfRecord(encodeEvent({ ...event, wallTime: now() / 1000 })));
    await file.appendFile(Buffer.concat(records));
  };
  return {
    name: 'tensorBoard',
    async open({ step }) {
      await writing(folder, () => mkdir(folder, { recursive: true }));
      const path = join(folder, await nameOfNext(folder, now()));
      file = await writing(path, () => open(path, 'ax'));
      await write({ fileVersion: 'brain.Event:2' }, { step: step === 0 ? 0 : step + 1, isRestart: true });
    },
    log: (step: number, metrics: Metrics) =>
      write({ step, scalars: Object.fromEntries(Object.entries(metrics).map(([name, x]) => [tagOf(name), x])) }),
    async close() {
      await file?.close();
      file = undefined;
    },
  };
}

/** Files are read in the order of their names, which begin with seconds: a later one has more of them. */
async function nameOfNext(folder: string, now: number): Promise<string> {
  const earlier = (await readdir(folder)).map((name) => Number(NAME.exec(name)?.[1] ?? 0));
  const seconds = Math.max(Math.floor(now / 1000), ...earlier.map((second) => second + 1));
  return `events.out.tfevents.${String(seconds).padStart(10, '0')}.${hostname()}.${process.pid}.0`;
}
