import { onEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import { loadWeights, networkOf } from '../src/index.js';
import { decodeAll, ENGINES, largestDifference, MODEL_FOLDERS, modelFolder, readGolden, rowOf } from './support.js';

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();
  it.each(MODEL_FOLDERS)('%s: continues two ragged prompts greedily as transformers does', (folder) =>
    onEngine(engine, async () => {
      const { config, weights } = await loadWeights(modelFolder(folder));
      const { read, json } = await readGolden(modelFolder(folder));
      const rows = json['greedy.prompts'].map((prompt: number[]) => rowOf(prompt, 24));
      const { tokens, logProbs } = await decodeAll({ network: networkOf(config), weights }, rows);
      expect(tokens.flat()).toEqual(await (await read('greedy.ids')).toArray());
      expect(largestDifference(logProbs.flat(), await (await read('greedy.log_probs')).toArray())).toBeLessThan(1e-4);
    }),
  );
});
