import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { grad, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  loadWeights,
  type networkOf,
  saveWeights,
  sequenceLogits,
  tokenLogits,
  tokenValues,
  type Weights,
} from '../../src/index.js';
import { passInput } from '../../src/score/passes.js';
import { ENGINES, goldenFolder, largestDifference, temporaryFolder } from '../support.js';

const folderOf = (kind: string) => join(goldenFolder('heads'), kind);
const KINDS: Record<'sequence' | 'token' | 'value', string[]> = JSON.parse(
  readFileSync(folderOf('kinds.json'), 'utf8'),
);

async function golden(kind: string) {
  const file = await openSafetensors(join(folderOf(kind), 'expected.safetensors'));
  onTestFinished(() => file.close());
  const read = async (name: string): Promise<Tensor> => {
    const { data, shape, dtype } = await file.read(name);
    return tensor(data, shape, dtype);
  };
  const tokens = (await read('input_ids')).cast('int32');
  const mask = await (await read('attention_mask')).toArray();
  const [b, s] = tokens.shape as [number, number];
  const lengths = Array.from({ length: b }, (_, i) => mask.slice(i * s, (i + 1) * s).lastIndexOf(1));
  const last = tensor(Int32Array.from(lengths), [b], 'int32');
  return { read, tokens, last, mask: tensor(Float32Array.from(mask), [b, s]), names: [...file.tensors.keys()] };
}

/** The pure function of each kind of head, in the shape the golden has it in; zero at padding. */
function logitsOf(
  kind: string,
  network: ReturnType<typeof networkOf>,
  { tokens, last, mask }: Awaited<ReturnType<typeof golden>>,
) {
  const input = passInput(tokens);
  if (KINDS.sequence.includes(kind)) return (weights: Weights) => sequenceLogits(network, weights, { ...input, last });
  const masked = (x: Tensor) => x.mul(mask.expandDims(2));
  if (KINDS.token.includes(kind)) return (weights: Weights) => masked(tokenLogits(network, weights, input));
  return (weights: Weights) => masked(tokenValues(network, weights, input).expandDims(2));
}

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it.each(Object.values(KINDS).flat())('%s: logits and gradients of transformers, batch padded', (kind) =>
    onEngine(engine, async () => {
      const { weights, network } = await loadWeights(folderOf(kind));
      const expected = await golden(kind);
      const logits = logitsOf(kind, network, expected);
      const [actual, wanted] = [logits(weights), await expected.read('logits')];
      expect(actual.shape).toEqual(wanted.shape);
      expect(largestDifference(await actual.toArray(), await wanted.toArray())).toBeLessThan(1e-5);

      const cotangent = await expected.read('cotangent');
      const gradients = grad((w: Weights) => logits(w).mul(cotangent).sum())(weights);
      const named = expected.names.filter((name) => name.startsWith('gradient.'));
      expect(named.length).toBeGreaterThan(2);
      for (const name of named) {
        const got = await gradients[name.slice('gradient.'.length)]!.toArray();
        const wantedValues = await (await expected.read(name)).toArray();
        // Both were computed in float32, and gradients to embeddings go up to 30.
        const scale =
          1 +
          largestDifference(
            wantedValues,
            wantedValues.map(() => 0),
          );
        expect(largestDifference(got, wantedValues) / scale, name).toBeLessThan(2e-5);
      }
    }),
  );
});

it.each(Object.values(KINDS).flat())(
  '%s: config and tensors survive a round trip, with the names of transformers',
  async (kind) => {
    const { config, weights, network } = await loadWeights(folderOf(kind));
    const folder = await temporaryFolder();
    await saveWeights(folder, config, weights, {}, undefined, network);
    const again = await loadWeights(folder);
    expect(again.config).toEqual(config);
    for (const [name, weight] of Object.entries(weights)) {
      expect(await again.weights[name]!.toArray(), name).toEqual(await weight.toArray());
    }
    const [ours, theirs] = [folder, folderOf(kind)].map((where) =>
      JSON.parse(readFileSync(join(where, 'config.json'), 'utf8')),
    );
    // transformers leaves two labels without names out.
    const labels = theirs.id2label ?? { 0: 'LABEL_0', 1: 'LABEL_1' };
    if (!KINDS.value.includes(kind)) expect(ours.id2label).toEqual(labels);
    for (const key of ['architectures', 'problem_type', 'token_classification_bias', 'pad_token_id']) {
      expect(ours[key], key).toEqual(theirs[key]);
    }
  },
);
