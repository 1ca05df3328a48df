import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, referenceEngine, setEngine, stopGradient, type Tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import type { Generator } from '@posttrain/interfaces';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { failuresOf } from '../../../testing/failures-of.js';
import { streamRows } from '../../data/src/index.js';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  aGem,
  competenceCurriculum,
  ewc,
  fisherDiagonal,
  generativeReplay,
  negativeLogLikelihood,
  type Penalty,
  type RowSource,
  sft,
  Trainer,
  type TrainingRow,
  tokenizeRows,
  toTrainingRows,
} from '../src/index.js';
import { testPenalty, testRowSource } from '../src/testing/index.js';
import { contents, expectClose } from './model.js';
import { learnNext, learnt, tasks } from './replay-run.js';

const rowsOf = (sequences: number[][]): TrainingRow[] => {
  const count = sequences.reduce((sum, { length }) => sum + length - 1, 0);
  return sequences.map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / count) }));
};
const old = rowsOf([
  [3, 17, 24, 9, 12],
  [9, 2, 31],
]);
const next = rowsOf([
  [3, 17, 5, 6, 7],
  [9, 2, 8],
]);

beforeAll(() => setEngine(referenceEngine()));

const start = async () => Trainer.create(await tinyModel('llama', 3), { optimizer: sgd(), maxGradNorm: 0 });
const lossOf = async (trainer: Trainer, rows: readonly TrainingRow[], parameters?: Named) =>
  (await trainer.evaluate(rows, negativeLogLikelihood, parameters ? { parameters } : {})).loss;

async function train(
  trainer: Trainer,
  rows: readonly TrainingRow[],
  steps: number,
  { penalties = [], learningRate = 0.3 }: { penalties?: readonly Penalty[]; learningRate?: number } = {},
) {
  for (let step = 0; step < steps; step++) {
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    await trainer.optimStep({ learningRate, penalties });
  }
}

describe('elastic weight consolidation', () => {
  it('learns the new task and forgets less of the old one; λ 0 changes nothing', async () => {
    const results: { before: readonly [number, number]; old: number; next: number }[] = [];
    for (const lambda of [undefined, 0, 10]) {
      const trainer = await start();
      await train(trainer, old, 5);
      const anchors = await trainer.copyParameters();
      const fisher = await fisherDiagonal(trainer, old, negativeLogLikelihood);
      const before = [await lossOf(trainer, old), await lossOf(trainer, next)] as const;
      const penalties = lambda === undefined ? [] : [ewc({ anchors, fisher, lambda })];
      await train(trainer, next, 60, { penalties, learningRate: 0.02 });
      results.push({ before, old: await lossOf(trainer, old), next: await lossOf(trainer, next) });
    }
    const [plain, none, held] = results as [(typeof results)[0], (typeof results)[0], (typeof results)[0]];
    expectClose([none.old, none.next], [plain.old, plain.next], 1e-6);
    expect(plain.old).toBeGreaterThan(plain.before[0] + 0.1);
    expect(held.old - held.before[0]).toBeLessThan(0.75 * (plain.old - plain.before[0]));
    expect(held.next).toBeLessThan(held.before[1] - 2);
  });

  it('pulls with λ F (θ - θ*), is nothing at the anchor, and is logged', async () => {
    const trainer = await start();
    const anchors = await trainer.copyParameters();
    const ones = mapNamed(anchors, (x) => x.mul(0).add(1));
    const name = 'model.norm.weight';
    const shifted = { ...anchors, [name]: anchors[name]!.add(0.5) };
    const zero = mapNamed(anchors, (x) => x.mul(0));
    const at = await trainer.optimStep({
      learningRate: 1,
      gradients: zero,
      penalties: [ewc({ anchors, fisher: ones, lambda: 2 })],
    });
    expect([at.gradNorm, at.penalties.ewc]).toEqual([0, 0]);
    await trainer.assign(shifted);
    // 2 / 2 · 16 · 0.25, with the gradient 2 · 0.5 in 16 places.
    const away = await trainer.optimStep({
      learningRate: 0.25,
      gradients: zero,
      penalties: [ewc({ anchors, fisher: ones, lambda: 2 })],
    });
    expectClose([away.penalties.ewc!, away.gradNorm], [4, 4], 1e-5);
    const moved = await trainer.parameters[name]!.sub(anchors[name]!).toArray();
    expectClose(
      moved,
      moved.map(() => 0.25),
      1e-6,
    );
    const { [name]: _, ...fewer } = ones;
    expect(() => ewc({ anchors, fisher: fewer, lambda: 1 })).toThrow(/same parameters/);
  });

  it('takes other anchors and another λ without a new graph', async () => {
    let traced = 0;
    const trainer = await start();
    const compute = (parameters: Named, { factor }: Named): Tensor => {
      traced++;
      return parameters['model.norm.weight']!.square().sum().mul(factor!);
    };
    const anchors = await trainer.copyParameters();
    const zero = mapNamed(anchors, (x) => x.mul(0));
    const factorOf = (value: number) => anchors['model.norm.weight']!.slice(0, 0, 1).mul(0).add(value).sum();
    for (const value of [1, 2, 3]) {
      const penalty: Penalty = { name: 'norm', tensors: { factor: factorOf(value) }, compute };
      await trainer.optimStep({ learningRate: 0, gradients: zero, penalties: [penalty] });
    }
    expect(traced).toBe(1);
  });
});

describe('A-GEM', () => {
  const gradientsOf = async (trainer: Trainer, rows: readonly TrainingRow[]) => {
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    return trainer.takeGradients();
  };

  it('turns a gradient that hurts what is remembered, and leaves one that does not', async () => {
    const trainer = await start();
    await train(trainer, old, 12);
    const [g, memory] = [await gradientsOf(trainer, next), await gradientsOf(trainer, old)];
    const { gradients, interference } = await aGem(g, memory);
    expect(interference).toBeLessThan(0);
    const after = await aGem(gradients, memory);
    expect(Math.abs(after.interference)).toBeLessThan(1e-5 * Math.abs(interference));
    const same = await aGem(memory, memory);
    expect(same.interference).toBeGreaterThan(0);
    for (const [name, x] of Object.entries(same.gradients))
      expect(await x.toArray()).toEqual(await memory[name]!.toArray());
  });

  it('steps that raise the loss of what is remembered no longer do, to first order, and the new one falls', async () => {
    const trainer = await start();
    await train(trainer, old, 12);
    const at = await trainer.copyParameters();
    const before = { old: await lossOf(trainer, old), next: await lossOf(trainer, next) };
    const [g, memory] = [await gradientsOf(trainer, next), await gradientsOf(trainer, old)];
    const changes: { old: number; next: number }[] = [];
    for (const gradients of [g, (await aGem(g, memory)).gradients]) {
      await trainer.optimStep({ learningRate: 1e-3, gradients });
      changes.push({
        old: (await lossOf(trainer, old)) - before.old,
        next: (await lossOf(trainer, next)) - before.next,
      });
      await trainer.assign(at);
    }
    expect(changes[0]!.old).toBeGreaterThan(0);
    expect(Math.abs(changes[1]!.old)).toBeLessThan(changes[0]!.old / 10);
    expect(changes[1]!.next).toBeLessThan(0);
    // The step that was taken back is gone.
    expect(await lossOf(trainer, old)).toBeCloseTo(before.old, 6);
  });
});

describe('trial parameters', () => {
  it('give their loss without being taken: accepted, they are the parameters', async () => {
    const trainer = await start();
    await trainer.forwardBackward(next, negativeLogLikelihood);
    const gradients = await trainer.takeGradients();
    const before = await lossOf(trainer, next);
    const at = await trainer.copyParameters();
    const trial = (rate: number) => mapNamed(at, (p, name) => p.sub(gradients[name]!.mul(rate)));
    // Backtracking, as a line search does it.
    let rate = 100;
    while ((await lossOf(trainer, next, trial(rate))) >= before) rate /= 2;
    expect(rate).toBeLessThan(100);
    expect(await lossOf(trainer, next)).toBe(before);
    const expected = await lossOf(trainer, next, trial(rate));
    await trainer.assign(trial(rate));
    expectClose([await lossOf(trainer, next)], [expected], 1e-6);
    expect(trainer.step).toBe(0);
    await expect(trainer.assign({})).rejects.toThrow(/none of the shape of/);
    await trainer.forwardBackward(next, negativeLogLikelihood);
    await expect(trainer.assign(at)).rejects.toThrow(/gradients have been added/);
  });
});

describe('generative replay', () => {
  beforeAll(() => setEngine(onnxruntimeEngine()));

  /** Half of its samples, told by their seeds, are empty. */
  const scripted = (asked: { prompt: unknown; seed?: number | undefined }[]): Generator => ({
    name: 'scripted',
    async generate(requests) {
      asked.push(...requests);
      return requests.map(({ seed = 0 }) => {
        const text = (seed / 2 ** 24) % 2 === 0 ? '' : 'abc';
        return [{ text, finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } }];
      });
    },
  });

  it('has γ replayed rows for each fresh one, every fresh one before one comes again, and is a function of the request', async () => {
    const asked: { prompt: unknown }[] = [];
    const fresh = Array.from({ length: 40 }, (_, i) => ({ text: `fresh ${i}` }));
    const options = {
      generator: scripted(asked),
      generatorName: 'scripted',
      gamma: 0.5,
      prompts: ['x', 'y'],
      attempts: 12,
    };
    const source = generativeReplay<object>(fresh, options);
    const rows: object[] = [];
    for (let step = 0; step < 30; step++) {
      rows.push(...(await source.next({ count: 20, step, key: Key.fromSeed(step) })).map(({ row }) => row));
    }
    const replayed = rows.filter((row) => 'completion' in row);
    // A third, within three standard deviations of 600 draws.
    expect(Math.abs(replayed.length / rows.length - 1 / 3)).toBeLessThan(3 * Math.sqrt(2 / 9 / 600));
    expect(new Set(replayed.map((row) => JSON.stringify(row)))).toEqual(
      new Set(['x', 'y'].map((prompt) => JSON.stringify({ prompt, completion: 'abc' }))),
    );
    const others = rows.filter((row) => 'text' in row);
    expect(new Set(others.slice(0, 40))).toEqual(new Set(fresh));

    const again = generativeReplay<object>(fresh, options);
    await again.load!(JSON.parse(JSON.stringify(source.state!())));
    const request = { count: 20, step: 30, key: Key.fromSeed(30) };
    expect(await again.next(request)).toEqual(await source.next(request));
    const none = generativeReplay<object>(fresh, { ...options, gamma: 0 });
    asked.length = 0;
    await none.next(request);
    expect(asked).toEqual([]);
  });

  it('forgets less of the old task, and learns the new one', async () => {
    const differences: number[] = [];
    for (const seed of [1, 2, 3]) {
      const before = await learnt(seed);
      const measured = async (trainer: Trainer, rows: (typeof tasks)['old']) => {
        const trained = toTrainingRows(tokenizeRows(before, rows).rows);
        const { loss, metrics } = await trainer.evaluate(trained, negativeLogLikelihood);
        return { loss, accuracy: metrics.mean_token_accuracy! };
      };
      const [plain, replayed] = [(await learnNext(seed, 0)).trainer, (await learnNext(seed, 1)).trainer];
      const losses = [(await measured(plain, tasks.old)).loss, (await measured(replayed, tasks.old)).loss];
      differences.push(Math.log(losses[0]! / losses[1]!));
      for (const trainer of [plain, replayed])
        expect((await measured(trainer, tasks.next)).accuracy).toBeGreaterThan(0.8);
    }
    // By a third at least: Student's t with two degrees of freedom, 95 %.
    const mean = differences.reduce((a, b) => a + b) / 3;
    const error = Math.sqrt(differences.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    expect(mean - 4.303 * error, String(differences)).toBeGreaterThan(0.3);
  });

  it('in a run that is killed goes on to the same bits and the same place among the rows', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-replay-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const whole = await learnNext(1, 1, { steps: 8 });
    const killAt = 2 + Math.floor(Math.random() * 4);
    const script = join(import.meta.dirname, 'replay-run.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script, folder, String(killAt)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    const resumed = await learnNext(1, 1, { steps: 8, outputFolder: folder, resume: true, onWarning: () => {} });
    expect(await contents(resumed.trainer), `killed at step ${killAt}`).toEqual(await contents(whole.trainer));
    expect(resumed.rows.state!()).toEqual(whole.rows.state!());
    expect(whole.rows.state!()).not.toBe(48);
  });

  it.each([
    ['no steps', {}, /steps is missing; say how many updates there are. Rows of a source \(generative-replay\)/],
    ['packing', { steps: 1, packing: true }, /packing needs all rows before the first step/],
  ])('sft refuses it with %s', async (_, options, message) => {
    const rows = generativeReplay<object>(tasks.next, { generator: scripted([]), generatorName: 'scripted' });
    await expect(sft({ model: await tinyModel('llama'), rows: rows as never, ...options })).rejects.toThrow(message);
  });
});

describe('kits of penalties and of sources of rows', async () => {
  const importances = (like: Named) => mapNamed(like, (x) => x.square().add(0.1));
  testPenalty(it, 'ewc', (anchors) => ewc({ anchors, fisher: importances(anchors), lambda: 3 }), {
    zeroAtAnchor: true,
  });
  const norm = (parameters: Named) =>
    Object.values(parameters)
      .map((x) => x.square().sum())
      .reduce((a, b) => a.add(b));
  testPenalty(it, 'of the norm', () => ({ name: 'norm', compute: norm }));

  /** A generator that says its seed. */
  const speaking: Generator = {
    name: 'speaking',
    generate: async (requests) =>
      requests.map(({ seed: own }) => [{ text: `old ${own}`, finishReason: 'stop', usage: {} }]) as never,
  };
  const fresh = Array.from({ length: 7 }, (_, i) => ({ prompt: `${i}`, completion: `${i * i}` }));
  const given = { generator: speaking, generatorName: 'speaking' };
  testRowSource(it, () => generativeReplay<object>(fresh, { ...given, gamma: 1 }));
  testRowSource(it, () => generativeReplay<object>(fresh, { ...given, gamma: 0 }), { withoutRepeats: 7 });
  const lengths = fresh.map((_, i) => i);
  testRowSource(it, () => competenceCurriculum(fresh, lengths, { steps: 6, initialCompetence: 0.5 }));
  const folder = mkdtempSync(join(tmpdir(), 'stream-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'rows.jsonl'), fresh.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const streams = await Promise.all(Array.from({ length: 24 }, () => streamRows(folder, { bufferSize: 3 })));
  testRowSource(it, () => streams.pop()!, { withoutRepeats: 7 });

  const ours = (anchors: Named): Penalty => ewc({ anchors, fisher: importances(anchors), lambda: 3 });
  it.each<[string, RegExp, (anchors: Named) => Penalty, RegExp]>([
    [
      'a gradient that stops',
      /gradient/,
      (a) => ({ name: 'x', compute: (p) => stopGradient(norm(p)), tensors: a }),
      /the gradient is 0/,
    ],
    [
      'tensors that are constants',
      /reads/,
      (a) => ({ ...ours(a), compute: (p) => ours(a).compute(p, ours(a).tensors!) }),
      /constants of its graph/,
    ],
    [
      'what it does not declare',
      /reads/,
      () => ({ name: 'x', compute: (p, { none }) => norm(p).mul(none ? 2 : 1) }),
      /does not declare/,
    ],
    ['an anchor that is elsewhere', /anchor/, () => ({ name: 'x', compute: norm }), /at its anchor it is/],
    ['no number at all', /one finite/, () => ({ name: 'x', compute: (p) => norm(p).mul(-1).log() }), /it is NaN/],
    ['a vector', /one finite/, () => ({ name: 'x', compute: (p) => Object.values(p)[0]! }), /it is a scalar/],
  ])('%s in a penalty is found', async (_, only, make, message) => {
    const failures = await failuresOf((register) => testPenalty(register, 'x', make, { zeroAtAnchor: true }), only);
    expect(failures.join('\n')).toMatch(message);
  });

  const counting = (): RowSource & { at: number } => ({
    name: 'counting',
    settings: {},
    at: 0,
    next({ count }) {
      return Array.from({ length: count }, () => ({ row: this.at++ }));
    },
    state() {
      return { at: this.at };
    },
    load(state) {
      this.at = (state as { at: number }).at;
    },
  });
  let calls = 0;
  it.each<[string, RegExp, Partial<RowSource>, RegExp]>([
    ['nothing wrong', /^/, {}, /^$/],
    [
      'a row too many',
      /gives the rows/,
      { next: ({ count }) => Array.from({ length: count + 1 }, () => ({ row: 1 })) },
      /was asked for 1 rows/,
    ],
    [
      'rows that are not wrapped',
      /gives the rows/,
      { next: ({ count }) => Array.from({ length: count }, () => 1) as never },
      /is \{ row \}/,
    ],
    [
      'draws of its own',
      /function/,
      { next: ({ count }) => Array.from({ length: count }, () => ({ row: calls++ })) },
      /two of the same settings/,
    ],
    ['a state that it forgets', /goes on/, { load() {} }, /from a saved state/],
    ['a state that is no JSON', /plain data/, { state: () => new Map([[1, 2]]) }, /the state is JSON/],
    [
      'a row that comes twice',
      /before one comes/,
      { next: ({ count, step }) => Array.from({ length: count }, () => ({ row: step })) },
      /a row came twice/,
    ],
  ])('%s in a source of rows is found', async (_, only, part, message) => {
    const make = () => Object.assign(counting(), part);
    const failures = await failuresOf((register) => testRowSource(register, make, { withoutRepeats: 6 }), only);
    expect(failures.join('\n')).toMatch(message);
  });
});

describe('competenceCurriculum', () => {
  const rows = Array.from({ length: 40 }, (_, i) => ({ n: (7 * i) % 40 }));
  const difficulties = rows.map(({ n }) => n);

  it('draws every row that is easy enough for the step equally often, and no other', async () => {
    for (const [power, step, part] of [
      // c(t) by hand: a straight line from 0.1, and √(0.01 + 0.99 t / T).
      [1, 0, 0.1],
      [1, 5, 0.55],
      [2, 5, Math.sqrt(0.505)],
      [2, 10, 1],
      [2, 99, 1],
    ] as const) {
      const source = competenceCurriculum(rows, difficulties, { steps: 10, initialCompetence: 0.1, power });
      expect(source.competence(step)).toBeCloseTo(part, 12);
      const counts = new Map<number, number>();
      for (let draw = 0; draw < 200; draw++) {
        const given = await source.next({ count: 3, step, key: Key.fromSeed(draw) });
        for (const { row } of given) counts.set(row.n, (counts.get(row.n) ?? 0) + 1);
      }
      const among = Math.max(1, Math.floor(part * 40 + 1e-9));
      expect([...counts.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: among }, (_, i) => i));
      // Five standard deviations of a count.
      const mean = 600 / among;
      for (const count of counts.values()) expect(Math.abs(count - mean)).toBeLessThan(5 * Math.sqrt(mean));
    }
  });

  it('gives equally difficult rows together, and says what is no difficulty', async () => {
    const same = competenceCurriculum(
      [1, 2, 3, 4].map((n) => ({ n })),
      [5, 5, 5, 9],
      { steps: 9, initialCompetence: 0.3 },
    );
    const drawn = await same.next({ count: 3, step: 0, key: Key.fromSeed(1) });
    expect(drawn.map(({ row }) => row.n).sort()).toEqual([1, 2, 3]);
    expect(() => competenceCurriculum([{}], [1, 2], { steps: 3 })).toThrow(/there are 2 for 1 rows/);
    expect(() => competenceCurriculum([{}], [Number.NaN], { steps: 3 })).toThrow(/difficulties\[0\] is NaN/);
  });
});
