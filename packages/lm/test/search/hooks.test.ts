import { describe, expect, it } from 'vitest';
import { LocalScorer, logSoftmax, ModelRunner } from '../../src/index.js';
import { largestDifference, tinyModel } from '../support.js';

describe('model.runner()', () => {
  it('scores forks of a prompt, gives their states, and goes on from any token', async () => {
    const model = await tinyModel();
    const runner = new ModelRunner(model);
    const prompt = model.tokenizer.encode('2 + 3 =');
    const root = runner.start(prompt);
    const [read] = await runner.extend([{ sequence: root, tokens: prompt.slice(root.length) }]);
    const next = logSoftmax(read!.logits[0]!);

    const steps = [' 5', ' five'].map((text) => model.tokenizer.encode(text, { addSpecialTokens: false }));
    const branches = steps.map((tokens) => ({ sequence: runner.fork(root), tokens }));
    const results = await runner.extend(branches, { logits: 'all', hidden: true });
    const scored = await new LocalScorer(model).score(
      [' 5', ' five'].map((continuation) => ({ prompt: '2 + 3 =', continuation })),
    );
    for (const [i, { logits }] of results.entries()) {
      const rows = [next, ...logits.map((row) => logSoftmax(row))];
      expect(steps[i]!.reduce((sum, token, t) => sum + rows[t]![token]!, 0)).toBeCloseTo(scored[i]!.logProb, 3);
    }

    // The logits of a state are what the output layer makes of it.
    const head = await model.network.head(model.weights).toArray();
    const state = results[1]!.hidden!.at(-1)!.slice();
    const logits = results[1]!.logits.at(-1)!.slice();
    const width = state.length;
    const made = Array.from(logits, (_, token) => state.reduce((sum, x, j) => sum + x * head[token * width + j]!, 0));
    expect(largestDifference(made, logits)).toBeLessThan(1e-3);

    const again = runner.fork(branches[1]!.sequence, prompt.length);
    const [repeated] = await runner.extend([{ sequence: again, tokens: steps[1]! }]);
    expect(largestDifference(repeated!.logits[0]!, logits)).toBeLessThan(1e-3);
    for (const sequence of [root, again, ...branches.map(({ sequence }) => sequence)]) runner.release(sequence);
    expect(runner.freeTokens).toBe(runner.capacity);
  });
});
