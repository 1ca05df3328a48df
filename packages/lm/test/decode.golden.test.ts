import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Key, openSafetensors, referenceEngine, setEngine } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import { type DecodeRow, decode, loadWeights, networkOf, sequenceLogProbs } from '../src/index.js';

const goldens = join(import.meta.dirname, '../../../goldens/models');
const FOLDERS = ['llama', 'llama3-rope', 'mistral', 'qwen2', 'qwen3', 'gpt2'];

const row = (prompt: readonly number[], maxTokens: number, overrides: Partial<DecodeRow> = {}): DecodeRow => ({
  prompt,
  maxTokens,
  temperature: 0,
  topK: undefined,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  key: Key.fromSeed(7),
  isEnd: () => false,
  ...overrides,
});

async function run(folder: string, rows: readonly DecodeRow[], options: { maxBatch?: number } = {}) {
  const { config, weights } = await loadWeights(join(goldens, folder));
  const tokens = rows.map((): number[] => []);
  const logProbs = rows.map((): number[] => []);
  for await (const event of decode(networkOf(config), weights, rows, options)) {
    tokens[event.row]!.push(event.token);
    logProbs[event.row]!.push(event.logProb);
  }
  return { config, weights, tokens, logProbs };
}

beforeAll(() => setEngine(referenceEngine()));

describe.each(FOLDERS)('%s', (folder) => {
  it('continues two ragged prompts greedily as transformers does', async () => {
    const { 'greedy.prompts': prompts } = JSON.parse(await readFile(join(goldens, folder, 'expected.json'), 'utf8'));
    const file = await openSafetensors(join(goldens, folder, 'expected.safetensors'));
    const ids = await file.read('greedy.ids');
    const expected = await file.read('greedy.log_probs');
    await file.close();
    const { tokens, logProbs } = await run(
      folder,
      prompts.map((p: number[]) => row(p, 24)),
    );
    expect(tokens.flat()).toEqual(Array.from(ids.data));
    logProbs.flat().forEach((value, i) => {
      expect(Math.abs(value - expected.data[i]!)).toBeLessThan(1e-4);
    });
  });
});

describe('decode', () => {
  const prompts = [[5, 9, 2], [5, 9, 2], [17, 3, 44, 21, 8, 90, 33], [101]];
  const sampled = prompts.map((p, i) => row(p, 6 + i, { temperature: 0.9, topP: 0.95, key: Key.fromSeed(40 + i) }));

  it('gives a row the same tokens in any batch', async () => {
    const together = await run('llama', sampled);
    for (const [i, one] of sampled.entries()) {
      const alone = await run('llama', [one]);
      expect(alone.tokens[0]).toEqual(together.tokens[i]);
    }
    expect((await run('llama', sampled, { maxBatch: 2 })).tokens).toEqual(together.tokens);
    expect(together.tokens[0]).not.toEqual(together.tokens[1]);
  });

  it('reports the log-probabilities that scoring gives', async () => {
    const { config, weights, tokens, logProbs } = await run('llama', sampled);
    const sequences = prompts.map((p, i) => [...p, ...tokens[i]!]);
    const scored = await sequenceLogProbs(networkOf(config), weights, sequences, { temperature: 0.9 });
    for (const [i, prompt] of prompts.entries()) {
      const tail = scored[i]!.logProbs.subarray(prompt.length - 1);
      expect(tail.length).toBe(logProbs[i]!.length);
      tail.forEach((value, t) => {
        expect(Math.abs(value - logProbs[i]![t]!)).toBeLessThan(1e-4);
      });
    }
  });

  it('refuses a prompt that fills the context', async () => {
    await expect(run('llama', [row(new Array(128).fill(3), 4)])).rejects.toThrow(/prompt 0 has 128 tokens.*128/);
  });
});
