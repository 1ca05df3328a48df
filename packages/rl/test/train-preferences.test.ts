import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DpoOptions, preferenceLosses, trainPreferences, type UnpairedLoss } from '../src/index.js';
import { toyModel } from './toy.js';

const letters = ['a', 'b', 'd', 'e', 'f', 'g'];
const pairs = letters.map((letter) => ({
  prompt: `${letter}ab`,
  chosen: 'cc',
  rejected: `${letter}${letter}${letter}`,
}));
const single = pairs.flatMap(({ prompt, chosen, rejected }) => [
  { prompt, completion: chosen, label: true },
  { prompt, completion: rejected, label: false },
]);

const run = async (options: Partial<DpoOptions>) =>
  trainPreferences({
    ...{ model: await toyModel(3), rows: pairs, batchSize: 4, learningRate: 0.01, epochs: 6, schedule: 'constant' },
    ...options,
  } as DpoOptions);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'preferences-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('trainPreferences', () => {
  it.each(['ipo', 'simpo', 'orpo', 'aot'] as const)('comes to prefer what is chosen: %s', async (name) => {
    const { history } = await run({ loss: preferenceLosses[name]() });
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(last['rewards/accuracies']).toBe(1);
    expect(last['rewards/margins']!).toBeGreaterThan(first['rewards/margins']! + 0.05);
    expect(last.loss!).toBeLessThan(first.loss!);
    expect('nll_loss' in last).toBe(name === 'orpo');
  });

  it('comes to say what is desirable, from single completions: kto', async () => {
    const { history } = await run({ rows: single, loss: preferenceLosses.kto() });
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(first.loss).toBeCloseTo(0.5, 5);
    expect(first.kl).toBeCloseTo(0, 5);
    expect(last.loss!).toBeLessThan(0.49);
    expect(last['rewards/margins']!).toBeGreaterThan(0.1);
    expect(Object.keys(last)).toEqual(expect.arrayContaining(['kl', 'rewards/chosen', 'logps/rejected', 'entropy']));
  });

  it.each([
    ['kto', single],
    ['aot', pairs],
    ['orpo', pairs],
  ] as const)('%s is the same however a step is split over micro-batches', async (name, rows) => {
    const last = async (maxTokensPerPass: number) => {
      const { history } = await run({
        rows,
        loss: preferenceLosses[name](),
        maxTokensPerPass,
        epochs: 2,
        evaluationRows: rows,
      } as never);
      return history.map(({ metrics }) => metrics);
    };
    const [whole, split] = [await last(4096), await last(16)];
    expect(whole.length).toBe(split.length);
    whole.forEach((metrics, i) => {
      for (const [key, value] of Object.entries(metrics)) {
        if (key !== 'step_time') expect(Math.abs(split[i]![key]! - value), `${i} ${key}`).toBeLessThan(1e-4);
      }
    });
    expect(whole.at(-1)!.eval_loss).toBeDefined();
  });

  it('runs no reference where the loss needs none', async () => {
    const hooks = () => {
      throw new Error('the reference was run');
    };
    const reference = { name: 'never', parameters: {}, hooks };
    for (const name of ['simpo', 'orpo'] as const) {
      await expect(run({ loss: preferenceLosses[name](), reference, epochs: 1 })).resolves.toBeDefined();
    }
    await expect(run({ loss: preferenceLosses.ipo(), reference, epochs: 1 })).rejects.toThrow(/the reference was run/);
  });

  it('gives a loss of one’s own a number of the step, and refuses what it did not name', async () => {
    const seen: number[] = [];
    let traced = 0;
    const own: UnpairedLoss = {
      kind: 'unpaired',
      name: 'own',
      settings: {},
      beta: 0.1,
      scalars: ['mixing'],
      before: async () => ({ mixing: seen.push(seen.length) }),
      compute({ logProbs, desirable, lengths }, { mixing }) {
        traced++;
        return logProbs.div(lengths.maximum(1)).mul(desirable.neg()).mul(mixing!);
      },
    };
    const { history } = await run({ rows: single, loss: own, epochs: 1 });
    expect(history.map(({ metrics }) => metrics.mixing)).toEqual([1, 2, 3]);
    expect(traced).toBe(1);
    const wrong = { ...own, before: async () => ({ other: 1 }) };
    await expect(run({ rows: single, loss: wrong, epochs: 1 })).rejects.toThrow(/takes no scalar other/);
  });

  it('goes on from a checkpoint with the same numbers: kto', async () => {
    const options = { rows: single, loss: preferenceLosses.kto(), saveSteps: 1 } as const;
    const straight = await run({ ...options, epochs: 1, outputFolder: join(folder, 'straight') });
    const stopped = { ...options, epochs: 1, outputFolder: join(folder, 'stopped') };
    await run({ ...stopped, afterStep: ({ step, stop }) => (step === 0 ? stop() : undefined) });
    const resumed = await run({ ...stopped, resume: true });
    const numbers = ({ history }: typeof resumed) =>
      history.map(({ metrics: { step_time: _, ...metrics } }) => metrics);
    expect(numbers(resumed)).toEqual(numbers(straight));
    const other = { ...stopped, loss: preferenceLosses.kto({ beta: 0.2 }), resume: true as const };
    await expect(run(other)).rejects.toThrow(/beta/);
  });

  it.each([
    [{ prompt: 'ab', completion: 'cc', label: 1 }, /row 0: label must be true .* and is 1/],
    [{ prompt: 'ab', completion: ['cc'], label: true }, /row 0/],
    [{ prompt: 'ab', chosen: 'cc', label: true }, /row 0: completion must be a text/],
    [{ prompt: '', completion: 'cc', label: true }, /row 0: its prompt has no tokens/],
  ])('refuses a row for kto: %j', async (row, message) => {
    await expect(run({ rows: [row] as never, loss: preferenceLosses.kto() })).rejects.toThrow(message);
  });
});
