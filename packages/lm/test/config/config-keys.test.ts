import { describe, expect, it } from 'vitest';
import { KEY_TABLES, lostInWriting, passedOver, readKeyTable, runPatches } from './key-table.js';

// All alterations of all families are computed in config-keys.slow.test.ts.
describe('a key of config.json that changes what transformers computes', () => {
  it.each(KEY_TABLES)('of %s is never passed over', (name) => {
    // A head that the file has all the same is found when the weights are read.
    expect(passedOver(name).filter((patch) => patch !== '{"tie_word_embeddings":true}')).toEqual([]);
    expect(readKeyTable(name).changed.length).toBeGreaterThan(5);
  });

  it.each(KEY_TABLES.filter((name) => name !== 'bert'))('of %s is there again in what is written', (name) => {
    expect(lostInWriting(name)).toEqual([]);
  });

  it.each(['mistral', 'gpt2', 'bert'])('of %s computes the same here, or is refused', async (name) => {
    const { wrong, refused } = await runPatches(name, ({ changed }) => changed);
    expect(wrong).toEqual([]);
    expect(refused.length).toBeLessThan(readKeyTable(name).changed.length);
  });

  it.each(['llama', 'gemma2', 'phi3', 'gpt2'])('of %s turns attention round, and is refused by name', async (name) => {
    const { refused } = await runPatches(name, () => [{ set: { is_causal: false } }]);
    expect(refused).toEqual([expect.stringMatching(/config\.json: "is_causal" must be true/)]);
  });
});
