import { Key, referenceEngine, setEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CacheTooSmallError,
  type DecodeRow,
  initialWeights,
  LocalGenerator,
  ModelRunner,
  networkOf,
  type ScheduledToken,
  Scheduler,
} from '../src/index.js';
import { decodeAll, ENGINES, rowOf, tinyConfig, tinyModel } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

async function tiny(config: Record<string, unknown> = {}) {
  const network = networkOf(tinyConfig(config));
  return { network, weights: await onEngine(referenceEngine(), () => initialWeights(network, 1)) };
}

/** A runner that counts the tokens it is asked to compute. */
class CountingRunner extends ModelRunner {
  computed = 0;
  largest = 0;
  override extend(...[inputs, options]: Parameters<ModelRunner['extend']>) {
    const tokens = inputs.reduce((sum, input) => sum + input.tokens.length, 0);
    this.computed += tokens;
    this.largest = Math.max(this.largest, tokens);
    return super.extend(inputs, options);
  }
}

const range = <T>(n: number, f: (i: number) => T) => Array.from({ length: n }, (_, i) => f(i));

async function drain(scheduler: Scheduler, into: Map<number, number[]>): Promise<void> {
  while (scheduler.size > 0) collect(await scheduler.step(), into);
}

function collect(tokens: readonly ScheduledToken[], into: Map<number, number[]>): void {
  for (const { id, token } of tokens) into.set(id, [...(into.get(id) ?? []), token]);
}

describe.each(ENGINES)('Scheduler on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it('gives every row what it gets alone, whenever rows join and leave', () =>
    onEngine(engine, async () => {
      const model = await tiny();
      const rows = range(12, (i) => i).map(
        (i): DecodeRow =>
          rowOf(
            range(1 + ((i * 13) % 40), (n) => (n * (i + 3)) % 64),
            3 + (i % 9),
            i % 2 ? { temperature: 0.8, key: Key.fromSeed(i) } : {},
          ),
      );
      const alone = [];
      for (const row of rows) alone.push((await decodeAll(model, [row])).tokens[0]);
      const runner = new CountingRunner(model, { cacheTokens: 20 * 16 });
      const scheduler = new Scheduler(runner, { maxBatch: 5, prefillTokens: 16 });
      const tokens = new Map<number, number[]>();
      const ids: number[] = [];
      for (const [i, row] of rows.entries()) {
        ids.push(scheduler.add(row));
        if (i % 3 === 2) collect(await scheduler.step(), tokens);
      }
      await drain(scheduler, tokens);
      expect(ids.map((id) => tokens.get(id))).toEqual(alone);
      expect(runner.largest).toBeLessThanOrEqual(16);
      expect(runner.freeTokens).toBe(runner.capacity);
    }));

  it('computes a prompt once for all its samples, and not again for the next who come with it', () =>
    onEngine(engine, async () => {
      const runner = new CountingRunner(await tiny());
      const scheduler = new Scheduler(runner);
      const prompt = range(40, (i) => i);
      for (let i = 0; i < 8; i++) scheduler.add(rowOf(prompt, 3, { temperature: 1, key: Key.fromSeed(i) }));
      await drain(scheduler, new Map());
      expect(runner.computed).toBe(40 + 8 * 2);
      scheduler.add(rowOf([...prompt, 5], 1));
      await drain(scheduler, new Map());
      expect(runner.computed).toBe(40 + 8 * 2 + 1);
    }));

  it('computes what prompts of one batch begin with once, be they cut into pieces, and says whose was found', () =>
    onEngine(engine, async () => {
      const model = await tiny();
      const shared = range(40, (i) => i);
      const rows = range(3, (i) => rowOf([...shared, 50 + i, ...range(i, () => 9)], 2));
      const alone: (readonly number[] | undefined)[] = [];
      for (const row of rows) alone.push((await decodeAll(model, [row])).tokens[0]);
      for (const prefillTokens of [16, 512]) {
        const runner = new CountingRunner(model);
        const scheduler = new Scheduler(runner, { prefillTokens });
        for (const row of rows) scheduler.add(row);
        // A prompt that shares less than a block with them does not wait.
        scheduler.add(rowOf([...shared.slice(0, 3), 60], 2));
        const tokens = new Map<number, number[]>();
        let cached = 0;
        while (scheduler.size > 0) {
          const step = await scheduler.step();
          collect(step, tokens);
          cached += step.reduce((sum, { cachedPromptTokens = 0 }) => sum + cachedPromptTokens, 0);
        }
        expect(rows.map((_, i) => tokens.get(i))).toEqual(alone);
        const prompts = rows.reduce((sum, { prompt }) => sum + prompt.length, 0) + 4;
        expect(runner.computed).toBe(prompts - cached + rows.length + 1);
        expect(prompts - cached).toBeLessThanOrEqual(40 + (1 + 2 + 3) + 4);
        expect(runner.freeTokens).toBe(runner.capacity);
      }
    }));

  it('lets rows begin that might not all fit, and has the last make room when they do not', () =>
    onEngine(engine, async () => {
      const model = await tiny({ max_position_embeddings: 128 });
      // Each may come to need 7 of the 12 blocks; two do, the others end early.
      const rows = range(8, (i) => {
        const isEnd = (token: number) => i > 1 && token < 4;
        return rowOf([i + 1, 7], 110, { temperature: 1, key: Key.fromSeed(i), isEnd });
      });
      const alone = [];
      for (const row of rows) alone.push((await decodeAll(model, [row])).tokens[0]);
      const runner = new CountingRunner(model, { cacheTokens: 12 * 16 });
      const scheduler = new Scheduler(runner, { maxBatch: 8 });
      for (const row of rows) scheduler.add(row);
      const tokens = new Map<number, number[]>();
      let [most, fewer] = [0, 0];
      while (scheduler.size > 0) {
        const { active } = scheduler;
        const step = await scheduler.step();
        collect(step, tokens);
        most = Math.max(most, scheduler.active);
        fewer += Number(active - step.filter(({ finish }) => finish).length > scheduler.active);
      }
      expect(most).toBeGreaterThan(12 / 7);
      expect(fewer).toBeGreaterThan(0);
      expect(range(8, (i) => tokens.get(i))).toEqual(alone);
      expect(runner.freeTokens).toBe(runner.capacity);
    }));

  it('lets rows wait while the cache is full, refuses what never fits, and gives room back', () =>
    onEngine(engine, async () => {
      const runner = new ModelRunner(await tiny(), { cacheTokens: 64 });
      const scheduler = new Scheduler(runner);
      for (let i = 0; i < 3; i++) scheduler.add(rowOf([i + 1], 31));
      let isCancelled = false;
      scheduler.add(rowOf([9], 31), () => isCancelled);
      await scheduler.step();
      expect([scheduler.active, scheduler.size]).toEqual([1, 4]);
      isCancelled = true;
      const tokens = new Map<number, number[]>();
      await drain(scheduler, tokens);
      expect([...tokens.keys()]).toEqual([0, 1, 2]);
      expect(runner.freeTokens).toBe(runner.capacity);
      expect(() => scheduler.add(rowOf([1], 60))).toThrow(CacheTooSmallError);
      scheduler.add(rowOf([1], 9));
      await scheduler.step();
      scheduler.close();
      expect([scheduler.size, runner.freeTokens]).toEqual([0, runner.capacity]);
    }));
});

it('a generator’s calls share a batch, and one that fails does not hold up the others', async () => {
  const model = await tinyModel();
  const generator = new LocalGenerator(model, { cacheTokens: 160 });
  const request = (seed: number) => ({ prompt: `number ${seed}`, maxTokens: 20, seed });
  let most = 0;
  const one = generator.generate([request(1)]);
  const two = generator.generate([request(2), { ...request(3), maxTokens: 600 }]);
  const three = (async () => {
    let text = '';
    for await (const event of generator.stream(request(4))) {
      most = Math.max(most, generator.load.active);
      text += event.text;
    }
    return text;
  })();
  await expect(two).rejects.toThrow(CacheTooSmallError);
  const texts = [(await one)[0]![0]!.text, await three];
  for (const [i, seed] of [1, 4].entries()) {
    expect(texts[i]).toBe((await new LocalGenerator(model).generate([request(seed)]))[0]![0]!.text);
  }
  expect(most).toBeGreaterThan(1);
  expect(generator.load).toEqual({ waiting: 0, active: 0 });
});

it('goes on after a first request that was refused', async () => {
  const model = await tinyModel();
  const generator = new LocalGenerator(model, { cacheTokens: 32 });
  await expect(generator.generate([{ prompt: 'A', maxTokens: 200 }])).rejects.toThrow(CacheTooSmallError);
  const [completions] = await generator.generate([{ prompt: 'A', maxTokens: 2 }]);
  expect(completions![0]!.tokenIds!.length).toBe(2);
});
