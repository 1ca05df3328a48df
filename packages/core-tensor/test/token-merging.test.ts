import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  attention,
  compile,
  concat,
  type Engine,
  Key,
  normal,
  realize,
  referenceEngine,
  setEngine,
  stack,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { expectClose } from '../src/testing/check-case.js';
import {
  bipartiteSoftMatching,
  proportionalAttentionBias,
  type TokenMergingOptions,
} from '../src/token-merging/index.js';

const folder = join(import.meta.dirname, '../../../goldens/kernels');
const cases = JSON.parse(readFileSync(join(folder, 'token-merging.json'), 'utf8')) as Record<
  string,
  { tokens: number; r: number; protectFirst?: true }
>;
const engines: readonly (readonly [string, () => Engine])[] = [
  ['onnxruntime', () => onnxruntimeEngine({ threads: 1 })],
  ['reference', referenceEngine],
];
const draw = (seed: number, shape: readonly number[]) => normal(Key.fromSeed(seed).toTensor(), shape);

afterAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

describe.each(engines)('token merging as written out token by token, on %s', (_, create) => {
  const golden = new Map<string, Tensor>();
  beforeAll(async () => {
    setEngine(create());
    const file = await openSafetensors(join(folder, 'token-merging.safetensors'));
    for (const name of file.tensors.keys()) {
      const { data, shape } = await file.read(name);
      golden.set(name, tensor(data, shape));
    }
    await file.close();
  });

  it.each(Object.entries(cases))('%s', async (name, { r, protectFirst = false }) => {
    const of = (key: string) => golden.get(`${name}.${key}`)!;
    const step = compile((metric: Tensor, x: Tensor, before: Tensor) =>
      valueAndGrad((y: Tensor) => {
        const { merge, sizes } = bipartiteSoftMatching(metric, r, { sizes: before, protectFirst });
        const out = merge(y);
        return [out.mul(of('weights')).sum(), { out, sizes }] as const;
      })(x),
    );
    const { value, gradient } = await step(of('metric'), of('x'), of('sizes'));
    const { out, sizes } = value[1];
    const same = async (key: string, got: Tensor) =>
      expectClose(key, await got.toArray(), await of(key).toArray(), 2e-6);
    await same('out', out);
    await same('size', sizes);
    await same('dx', gradient as Tensor);
  });
});

describe('token merging', () => {
  beforeAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

  it.each([0, 1, 4])('keeps the sum of the sizes and the weighted mean of the tokens: r = %i', async (r) => {
    const [x, metric] = [draw(1, [2, 9, 4]), draw(2, [2, 9, 3])];
    const first = bipartiteSoftMatching(metric, r);
    const second = bipartiteSoftMatching(first.merge(metric), 2, { sizes: first.sizes });
    const merged = second.merge(first.merge(x));
    expect(merged.shape).toEqual([2, 7 - r, 4]);
    const total = merged.mul(second.sizes.expandDims(2)).sum(1);
    await realize([total, second.sizes]);
    expectClose('mean', await total.toArray(), await x.sum(1).toArray(), 3e-6);
    expectClose('sizes', await second.sizes.sum(1).toArray(), [9, 9], 0);
  });

  it('is the identity for r = 0', async () => {
    const x = draw(3, [2, 5, 3]);
    const { merge, unmerge, source } = bipartiteSoftMatching(draw(4, [2, 5, 2]), 0);
    expect(await merge(x).toArray()).toEqual(await x.toArray());
    expect(await unmerge(x).toArray()).toEqual(await x.toArray());
    expect(await source.toArray()).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
  });

  it('merges identical tokens without loss, and attention to them by size is attention to all', async () => {
    const single = draw(5, [1, 4, 8]);
    const pairs = stack([single, single], 2).reshape([1, 8, 8]);
    const { merge, unmerge, sizes } = bipartiteSoftMatching(pairs, 4);
    expectClose('sizes', await sizes.toArray(), [2, 2, 2, 2], 0);
    expectClose('there and back', await unmerge(merge(pairs)).toArray(), await pairs.toArray(), 1e-6);
    // One token more on top: then sizes matter.
    const keys = concat([pairs, draw(6, [1, 1, 8])], 1);
    const few = bipartiteSoftMatching(keys, 4);
    const query = draw(7, [1, 1, 3, 8]);
    const merged = few.merge(keys).expandDims(1);
    const all = keys.expandDims(1);
    const bias = proportionalAttentionBias(few.sizes, 3);
    const got = attention(query, merged, merged, bias, { scale: 0.3 });
    const wanted = attention(query, all, all, zeros([1, 1, 3, 9]), { scale: 0.3 });
    expectClose('attention', await got.toArray(), await wanted.toArray(), 2e-6);
  });

  it('never merges a protected first token', async () => {
    const x = tensor([
      [
        [1, 0],
        [1, 0],
        [0, 1],
        [0.1, 1],
      ],
    ]);
    const first = async (options: TokenMergingOptions) =>
      (await bipartiteSoftMatching(x, 1, options).source.toArray())[0];
    expect(await first({})).toBe(1);
    expect(await first({ protectFirst: true })).toBe(0);
  });

  it.each([
    ['more pairs than there are', () => bipartiteSoftMatching(zeros([1, 5, 2]), 3), /r = 3 .* from 0 to 2/],
    ['a protected one among them', () => bipartiteSoftMatching(zeros([1, 4, 2]), 2, { protectFirst: true }), /0 to 1/],
    ['a metric of another rank', () => bipartiteSoftMatching(zeros([4, 2]), 1), /\[b, n, c\]/],
    ['sizes of other tokens', () => bipartiteSoftMatching(zeros([1, 4, 2]), 1, { sizes: zeros([1, 3]) }), /\[b, n\]/],
    ['an unknown option', () => bipartiteSoftMatching(zeros([1, 4, 2]), 1, { protect: 1 } as never), /unknown option/],
    [
      'tokens of another number',
      () => bipartiteSoftMatching(zeros([1, 4, 2]), 1).merge(zeros([1, 3, 2])),
      /merge.*\[1, 4, c\]/,
    ],
  ])('refuses %s', (_, call, message) => {
    expect(call).toThrow(message);
  });
});
