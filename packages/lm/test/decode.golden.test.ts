import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import { contrastive, type DecodingMix, loadWeights, logSoftmax, networkOf } from '../src/index.js';
import {
  decodeAll,
  ENGINES,
  goldenFolder,
  largestDifference,
  MODEL_FOLDERS,
  modelFolder,
  readGolden,
  rowOf,
} from './support.js';

interface Guidance {
  readonly model: string;
  readonly scale: number;
  readonly prompt: readonly number[];
  readonly negative: readonly number[];
  readonly ids: readonly number[];
  readonly log_probs: readonly number[];
}
const guidance: Guidance[] = JSON.parse(readFileSync(join(goldenFolder('sampling'), 'guidance.json'), 'utf8'));

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

  it.each(guidance)('$model: is guided by a negative prompt as transformers is', ({ model: name, scale, ...wanted }) =>
    onEngine(engine, async () => {
      const model = await loadWeights(modelFolder(name));
      const amateur = { model, prompt: wanted.negative };
      const mix = contrastive({ amateur, alpha: 0, beta: scale - 1 });
      const logProbs: number[] = [];
      const watched: DecodingMix = {
        ...mix,
        combine(policy, others) {
          const logits = mix.combine(policy, others);
          logProbs.push(Math.max(...logSoftmax(logits)));
          return logits;
        },
      };
      const { tokens } = await decodeAll(model, [rowOf(wanted.prompt, 12, { mix: watched })]);
      expect(tokens).toEqual([wanted.ids]);
      expect(largestDifference(logProbs, wanted.log_probs)).toBeLessThan(1e-4);
    }),
  );
});
