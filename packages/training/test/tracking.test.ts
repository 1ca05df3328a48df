import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProgressEvent } from '@posttrain/interfaces';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Metrics, progressLine, progressLines, type Tracker, tensorBoard } from '../src/index.js';
import { crc32c } from '../src/tracking/crc32c.js';
import { encodeEvent, type ScalarEvent, tfRecord } from '../src/tracking/event-file.js';
import { smallRun } from './sft-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tracking-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The records of a TFRecord file, by their lengths alone; what is cut off at the end is none. */
function recordsIn(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at + 16 <= bytes.length; ) {
    const end = at + 12 + Number(bytes.readBigUInt64LE(at));
    if (end + 4 > bytes.length) break;
    records.push(bytes.subarray(at + 12, end));
    at = end + 4;
  }
  return records;
}

/** The fields of a protocol buffer: integers and floats as numbers, what has a length as bytes. */
function fieldsOf(bytes: Buffer): [number: number, value: number | Buffer][] {
  const fields: [number, number | Buffer][] = [];
  let at = 0;
  const varint = () => {
    let [value, scale] = [0, 1];
    for (; bytes[at]! >= 128; at++, scale *= 128) value += (bytes[at]! - 128) * scale;
    return value + bytes[at++]! * scale;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag % 8;
    const length = wireType === 1 ? 8 : wireType === 5 ? 4 : wireType === 2 ? varint() : 0;
    const value = bytes.subarray(at, at + length);
    const read = { 0: varint, 1: () => value.readDoubleLE(), 2: () => value, 5: () => value.readFloatLE() }[wireType]!;
    fields.push([Math.floor(tag / 8), read()]);
    at += length;
  }
  return fields;
}

/** What TensorBoard shows of event files: scalars by tag, without what a restart makes it forget. */
function scalarsIn(files: readonly Buffer[]): Record<string, [step: number, value: number][]> {
  const shown: Record<string, [number, number][]> = {};
  for (const record of files.flatMap(recordsIn)) {
    const event = fieldsOf(record);
    const step = (event.find(([number]) => number === 2)?.[1] ?? 0) as number;
    for (const [number, value] of event) {
      if (number === 7) for (const tag of Object.keys(shown)) shown[tag] = shown[tag]!.filter(([one]) => one < step);
      if (number !== 5) continue;
      for (const [, scalar] of fieldsOf(value as Buffer)) {
        const [[, tag], [, x]] = fieldsOf(scalar as Buffer) as [[1, Buffer], [2, number]];
        shown[String(tag)] = [...(shown[String(tag)] ?? []), [step, x]];
      }
    }
  }
  return shown;
}

describe('event files', () => {
  it.each([
    ['123456789', 0xe3069283],
    ['', 0],
    ['\0'.repeat(32), 0x8a9136aa],
  ])('CRC-32C of %j is that of RFC 3720', (text, crc) => {
    expect(crc32c(Buffer.from(text))).toBe(crc);
  });

  it("are TensorBoard's own, byte for byte, and what it reads", async () => {
    const path = join(import.meta.dirname, '../../../goldens/tensorboard/expected.json');
    const { files, ...read } = JSON.parse(await readFile(path, 'utf8')) as {
      files: { events: ScalarEvent[]; hex: string }[];
      scalars: object;
      scalars_of_cut: object;
    };
    const ours = files.map(({ events }) => Buffer.concat(events.map((event) => tfRecord(encodeEvent(event)))));
    expect(ours.map((bytes) => bytes.toString('hex'))).toEqual(files.map(({ hex }) => hex));
    // TensorBoard reads from them what was meant, also from the file of a process that was killed while it wrote.
    expect(scalarsIn(ours)).toEqual(read.scalars);
    expect(scalarsIn([ours[0]!, ours[1]!.subarray(0, -7)])).toEqual(read.scalars_of_cut);
  });

  it('of a run have what it logs, as whole records, from the first entry on', async () => {
    const path = join(folder, 'board');
    const sizes: number[] = [];
    const read = async () => {
      const [name] = await readdir(path);
      return readFile(join(path, name!));
    };
    const { history } = await smallRun({
      ...{ steps: 3, loggingSteps: 1, warmupSteps: 0 },
      trackers: [tensorBoard({ folder: path }, () => 1_700_000_000_000)],
      evaluate: () => ({ accuracy: 0.5 }),
      async afterStep() {
        // As much as a process that is killed here would leave behind.
        const bytes = await read();
        sizes.push(recordsIn(bytes).length);
        expect(Buffer.concat(recordsIn(bytes).map(tfRecord)).equals(bytes)).toBe(true);
      },
    });
    expect(sizes).toEqual([3, 4, 5]);
    const event = (more: Partial<ScalarEvent>) => encodeEvent({ wallTime: 1_700_000_000, ...more });
    const tagged = (prefix: string, metrics: Metrics) =>
      Object.fromEntries(Object.entries(metrics).map(([name, x]) => [`${prefix}/${name.replace(/^eval_/, '')}`, x]));
    const expected = [
      event({ fileVersion: 'brain.Event:2' }),
      event({ isRestart: true }),
      ...history.map(({ step, metrics }) =>
        event({ step: step + 1, scalars: tagged('eval_accuracy' in metrics ? 'eval' : 'train', metrics) }),
      ),
    ];
    expect(recordsIn(await read()).map((one) => one.toString('hex'))).toEqual(expected.map((x) => x.toString('hex')));
    expect(Object.keys(history.at(-1)!.metrics)).toEqual(['eval_accuracy']);
  });

  it('of a run that goes on come behind the earlier one, which they cut off after its checkpoint', async () => {
    const path = join(folder, 'again');
    for (const step of [0, 2]) {
      const board = tensorBoard({ folder: path }, () => 1_700_000_000_000);
      await board.open!({ stage: 'sft', step });
      await board.close!();
    }
    const names = (await readdir(path)).sort();
    expect(names.map((name) => name.split('.')[3])).toEqual(['1700000000', '1700000001']);
    const [, restart] = recordsIn(await readFile(join(path, names[1]!)));
    // TensorBoard forgets this step and later ones.
    expect(restart).toEqual(encodeEvent({ wallTime: 1_700_000_000, step: 3, isRestart: true }));
  });
});

describe('trackers', () => {
  it('get every entry by the steps done, also where one of them fails, which is warned of once', async () => {
    const calls: unknown[] = [];
    const recording: Tracker = {
      open: (run) => void calls.push(['open', run]),
      log: async (step, metrics) => void calls.push([step, Object.keys(metrics).includes('loss')]),
      close: () => void calls.push(['close']),
    };
    const failing: Tracker = {
      name: 'dashboard',
      log: () => {
        throw new Error('is down');
      },
      close: () => void calls.push(['close of a failed one']),
    };
    const warnings: string[] = [];
    await smallRun({
      ...{ steps: 3, loggingSteps: 1, warmupSteps: 0 },
      trackers: [failing, recording],
      onWarning: (message) => warnings.push(message),
    });
    expect(calls).toEqual([['open', { stage: 'sft', step: 0 }], [1, true], [2, true], [3, true], ['close']]);
    expect(warnings).toEqual(['the tracker dashboard failed, and gets no further entries of the log: is down']);
  });

  it('are closed when the run fails', async () => {
    let isClosed = false;
    const tracker: Tracker = {
      log: () => {},
      close: () => {
        isClosed = true;
      },
    };
    const beforeStep = () => {
      throw new Error('no more');
    };
    await expect(smallRun({ trackers: [tracker], beforeStep })).rejects.toThrow('no more');
    expect(isClosed).toBe(true);
  });
});

describe('progress lines', () => {
  it.each<[ProgressEvent, number | undefined, string]>([
    [{ stage: 'sft', done: 3 }, undefined, 'step 3'],
    [
      { stage: 'sft', done: 12, total: 100, etaSeconds: 65.2, metrics: { loss: 1.23456, learning_rate: 2e-5 } },
      1234.4,
      'step 12/100 · loss 1.2346 · lr 2.00e-5 · 1234 tokens/s · ETA 1:05',
    ],
    [
      { stage: 'grpo', done: 1, total: 2, etaSeconds: 3661, metrics: { reward: 0.25 } },
      undefined,
      'step 1/2 · reward 0.250 · ETA 1:01:01',
    ],
    [
      { stage: 'sft', done: 1, total: 2, etaSeconds: 1, compileSeconds: 2.14 },
      undefined,
      'step 1/2 · ETA 0:01 · compiled 2.1 s',
    ],
    [{ stage: 'sft', done: 2, total: 2, compileSeconds: 0.01 }, undefined, 'step 2/2'],
  ])('%o is %s', (event, rate, line) => {
    expect(progressLine(event, rate)).toBe(line);
  });

  it('come a second apart, with the tokens of the time between, and of the last step', () => {
    const lines: string[] = [];
    let now = 0;
    const report = progressLines(
      (line) => lines.push(line),
      () => now,
    );
    for (const [done, at] of [1, 2, 3, 4].map((one, i) => [one, [0, 400, 1500, 1600][i]!] as const)) {
      now = at;
      report({ stage: 'sft', done, total: 4, metrics: { num_tokens: 300 * done } });
    }
    expect(lines).toEqual(['step 1/4', 'step 3/4 · 400 tokens/s', 'step 4/4 · 3000 tokens/s']);
  });

  it('rate the time in which nothing was compiled, and say what was when it has become more', () => {
    const lines: string[] = [];
    let now = 0;
    const report = progressLines(
      (line) => lines.push(line),
      () => now,
    );
    for (const [done, at, compileSeconds] of [
      [1, 5000, 4],
      [2, 6000, 4],
      [3, 10_000, 7],
      [4, 11_000, 7.01],
    ] as const) {
      now = at;
      report({ stage: 'sft', done, compileSeconds, metrics: { num_tokens: 300 * done } });
    }
    expect(lines).toEqual([
      'step 1 · compiled 4.0 s',
      'step 2 · 300 tokens/s',
      'step 3 · 300 tokens/s · compiled 7.0 s',
      'step 4 · 303 tokens/s',
    ]);
  });

  it('go where the option says', async () => {
    const lines: string[] = [];
    const events: ProgressEvent[] = [];
    const progress = (line: string) => lines.push(line);
    const { compileSeconds } = await smallRun({
      steps: 2,
      warmupSteps: 0,
      progress,
      onProgress: (x) => events.push(x),
    });
    // The first step compiles; what it spent on that is said apart, and no later step's time.
    const [first, last] = events.map((event) => event.compileSeconds!);
    expect(first).toBeGreaterThan(0);
    expect(last).toBeGreaterThanOrEqual(first!);
    expect(compileSeconds).toBeGreaterThanOrEqual(last!);
    expect(lines.at(0)).toMatch(/^step 1\/2 · loss \d\.\d{4} · lr 1.00e-2 · ETA \d+:\d\d( · compiled \d+\.\d s)?$/);
    expect(lines.at(-1)).toMatch(/^step 2\/2 · /);
  });
});
