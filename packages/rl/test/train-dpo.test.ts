import { describe, expect, it } from 'vitest';
import { type DpoOptions, dpo } from '../src/index.js';
import { toyModel } from './toy.js';

const rows = ['a', 'b', 'd', 'e', 'f', 'g'].map((letter) => ({
  prompt: `${letter}ab`,
  chosen: 'cc',
  rejected: `${letter}${letter}${letter}`,
}));

const run = async (options: Partial<DpoOptions> = {}) =>
  dpo({ model: await toyModel(3), rows, batchSize: 4, learningRate: 0.01, ...options });

describe('dpo', () => {
  it('comes to prefer what is chosen, beginning with no preference', async () => {
    const { history, dropped } = await run({ epochs: 6, schedule: 'constant' });
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(history.length).toBe(9);
    expect(first.loss).toBeCloseTo(Math.log(2), 5);
    expect(first['rewards/margins']).toBeCloseTo(0, 5);
    expect(last['rewards/accuracies']).toBe(1);
    expect(last['rewards/margins']).toBeGreaterThan(0.2);
    expect(last.loss!).toBeLessThan(first.loss! - 0.1);
    expect(dropped).toBe(0);
  });

  it("logs TRL's names (but not logits/*), and a last step with what is left of the epoch", async () => {
    const { history } = await run();
    expect(history.map(({ metrics }) => metrics.epoch)).toEqual([4 / 6, 1]);
    expect(Object.keys(history[0]!.metrics).sort()).toEqual(
      [
        ...['loss', 'grad_norm', 'learning_rate', 'epoch', 'num_tokens', 'step_time', 'entropy', 'mean_token_accuracy'],
        ...['chosen', 'rejected', 'accuracies', 'margins'].map((name) => `rewards/${name}`),
        ...['logps/chosen', 'logps/rejected'],
      ].sort(),
    );
  });

  it('counts and reports pairs that are cut off whole, and refuses to train on none', async () => {
    const warnings: string[] = [];
    const long = { ...rows[0]!, prompt: 'abcdefg' };
    const { dropped } = await run({
      rows: [...rows, long],
      maxLength: 5,
      onWarning: (message) => warnings.push(message),
    });
    expect(dropped).toBe(1);
    expect(warnings[0]).toMatch(/1 of 7 pairs are left out/);
    await expect(run({ maxLength: 2 })).rejects.toThrow(/none of 6 rows/);
    await expect(run({ beta: 1 } as Partial<DpoOptions>)).rejects.toThrow(/unknown option "beta"/);
  });
});
