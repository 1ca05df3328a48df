import { grad, referenceEngine, setEngine, type Tensor, tensor, tokenLogProbs } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import { networkOf } from '../src/model/network.js';
import { loadWeights } from '../src/model/weights.js';
import { MODEL_FOLDERS, modelFolder, readGolden } from './support.js';

async function largestError(actual: Tensor, expected: Tensor): Promise<number> {
  expect(actual.shape).toEqual(expected.shape);
  const [a, b] = [await actual.toArray(), await expected.toArray()];
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
}

beforeAll(() => setEngine(referenceEngine()));

describe.each(MODEL_FOLDERS)('%s', (folder) => {
  it('gives the logits, log-probabilities and gradients of transformers', async () => {
    const { config, weights } = await loadWeights(modelFolder(folder));
    const network = networkOf(config);
    const { read, json, names } = await readGolden(modelFolder(folder));
    const tokens = await read('batch.input_ids');
    const [b, s] = tokens.shape as [number, number];
    const row = (f: (i: number, t: number) => number) =>
      tensor(
        Int32Array.from({ length: b * s }, (_, i) => f(Math.floor(i / s), i % s)),
        [b, s],
        'int32',
      );
    const input = { tokens, positions: row((_, t) => t), segments: row(() => 1) };

    const hidden = network.hidden(weights, input);
    const logits = network.logits(weights, hidden.reshape([b * s, -1])).reshape([b, s, -1]);
    expect(await largestError(logits, await read('batch.logits'))).toBeLessThan(1e-4);

    const width = hidden.shape[2]!;
    const flat = (h: Tensor) => h.slice(1, 0, s - 1).reshape([b * (s - 1), width]);
    const scored = tokenLogProbs(flat(hidden), network.head(weights), tokens.slice(1, 1).reshape([-1]), {
      chunkSize: 7,
      softCap: network.logitSoftCap,
    });
    expect(await largestError(scored.logProbs.reshape([b, s - 1]), await read('batch.log_probs'))).toBeLessThan(1e-4);

    const labels = (await read('batch.labels')).slice(1, 1).reshape([-1]);
    const trained = labels.notEqual(-100).cast('float32');
    const loss = (w: typeof weights) => {
      const h = flat(network.hidden(w, input));
      const { logProbs } = tokenLogProbs(h, network.head(w), labels.maximum(0), {
        chunkSize: 7,
        softCap: network.logitSoftCap,
      });
      return logProbs.mul(trained).sum().div(trained.sum()).neg();
    };
    expect(Math.abs((await loss(weights).item()) - json['batch.loss'])).toBeLessThan(1e-5);
    const gradients = grad(loss)(weights);
    for (const name of names.filter((n) => n.startsWith('gradient.'))) {
      const error = await largestError(gradients[name.slice('gradient.'.length)]!, await read(name));
      expect(error, name).toBeLessThan(1e-5);
    }
  });
});
