import { grad } from '../autodiff/grad.js';
import { attention, attentionBias, type CachedAttentionConfig, cachedAttention } from '../kernels/attention.js';
import { layerNorm, rmsNorm } from '../kernels/norms.js';
import { rotary } from '../kernels/rotary.js';
import { logSoftmax, logSumExp, softmax } from '../kernels/softmax.js';
import { type TokenLogProbsOptions, tokenLogProbs } from '../kernels/token-log-probs.js';
import type { Shape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { type CaseInput, type ConformanceCase, defineCase, given, indices, sample } from './case.js';

const EPSILON = { epsilon: 1e-5 };

function softmaxCases(): ConformanceCase[] {
  const shapes: readonly Shape[] = [[2, 5], [3, 1, 4], [6], [2, 1], [0, 4], [13, 67]];
  return [
    ...shapes.map((shape) => defineCase('softmax', [sample(shape)], (x) => softmax(x!))),
    defineCase('softmax', [sample([2, 4], 'float16')], (x) => softmax(x!)),
    defineCase('softmax', [given([1000, 999, -1e30, -1e30, 0, 0], 'float32', [2, 3])], (x) => softmax(x!), {
      note: 'far apart',
    }),
    defineCase('softmax', [sample([3, 5])], (x) => logSumExp(x!), { note: 'logarithm of the sum' }),
  ];
}

function logSoftmaxCases(): ConformanceCase[] {
  const shapes: readonly Shape[] = [[2, 5], [3, 1, 4], [6], [2, 1], [0, 4], [13, 67]];
  return [
    ...shapes.map((shape) => defineCase('logSoftmax', [sample(shape)], (x) => logSoftmax(x!))),
    defineCase('logSoftmax', [given([100, 99, -50, -50, 0, 0], 'float32', [2, 3])], (x) => logSoftmax(x!), {
      note: 'far apart',
    }),
  ];
}

function normCases(): { rmsNorm: ConformanceCase[]; layerNorm: ConformanceCase[] } {
  const shapes: readonly Shape[] = [[2, 6], [2, 3, 4], [5], [3, 1], [0, 4], [7, 33]];
  const vector = (width: number, seed: number) => sample([width], 'float32', { seed });
  return {
    rmsNorm: [
      ...shapes.map((shape) =>
        defineCase('rmsNorm', [sample(shape), vector(shape.at(-1)!, 1)], (x, w) => rmsNorm(x!, w!, EPSILON)),
      ),
      defineCase(
        'rmsNorm',
        [given([0, 0, 0, 1e-4, 0, 0], 'float32', [2, 3]), vector(3, 1)],
        (x, w) => rmsNorm(x!, w!, { epsilon: 1e-2 }),
        {
          note: 'near zero',
        },
      ),
    ],
    layerNorm: shapes.map((shape) =>
      defineCase('layerNorm', [sample(shape), vector(shape.at(-1)!, 1), vector(shape.at(-1)!, 2)], (x, w, b) =>
        layerNorm(x!, w!, b!, EPSILON),
      ),
    ),
  };
}

function rotaryCases(): ConformanceCase[] {
  const turn = (x: Shape, angles: Shape, note?: string) => {
    const inputs = [
      sample(x),
      sample(angles, 'float32', { low: -1, high: 1, seed: 1 }),
      sample(angles, 'float32', { low: -1, high: 1, seed: 2 }),
    ];
    // The kernel treats the angles as constants, so only x has a gradient.
    return defineCase('rotary', inputs, (t, c, s) => rotary(t!, c!, s!), { variables: [0], ...(note ? { note } : {}) });
  };
  return [
    turn([2, 3, 4, 6], [2, 4, 3]),
    turn([2, 3, 4, 6], [1, 4, 3], 'angles shared by the rows'),
    turn([1, 1, 1, 2], [1, 1, 1]),
    turn([2, 2, 0, 4], [1, 0, 2], 'empty'),
  ];
}

/** Three packed documents and padding, per row. */
const SEGMENTS = given([0, 0, 0, 1, 1, 0, 1, 1, 2, 2], 'int32', [2, 5]);

function attentionCases(): ConformanceCase[] {
  const heads = (b: number, h: number, kv: number, s: number, t: number, d: number, dv = d): CaseInput[] => [
    sample([b, h, s, d]),
    sample([b, kv, t, d], 'float32', { seed: 1 }),
    sample([b, kv, t, dv], 'float32', { seed: 2 }),
  ];
  const bias = (shape: Shape) => sample(shape, 'float32', { seed: 3, low: -3, high: 1 });
  const plain = (inputs: CaseInput[], note: string) =>
    defineCase('attention', inputs, (q, k, v, b) => attention(q!, k!, v!, b!, { scale: 0.37 }), { note });
  const masked = (note: string, options: { slidingWindow?: number }) =>
    defineCase(
      'attention',
      [...heads(2, 4, 2, 5, 5, 4), SEGMENTS],
      (q, k, v, segments) => attention(q!, k!, v!, attentionBias(segments!, options), { scale: 0.5 }),
      { note },
    );
  return [
    plain([...heads(2, 2, 2, 3, 3, 4), bias([2, 1, 3, 3])], 'a bias per row'),
    plain([...heads(2, 2, 2, 3, 3, 4), bias([1, 1, 3, 3])], 'one bias'),
    plain([...heads(1, 6, 2, 2, 5, 2), bias([1, 1, 2, 5])], 'grouped queries, more keys'),
    plain([...heads(1, 4, 1, 3, 3, 2), bias([1, 1, 3, 3])], 'one key head'),
    plain([...heads(1, 2, 1, 2, 3, 4, 3), bias([1, 1, 2, 3])], 'values of another width'),
    plain([...heads(1, 1, 1, 1, 1, 1), bias([1, 1, 1, 1])], 'size 1'),
    plain([...heads(0, 2, 1, 2, 2, 2), bias([1, 1, 2, 2])], 'no rows'),
    masked('causal, packed', {}),
    masked('causal, packed, sliding window 2', { slidingWindow: 2 }),
  ];
}

/** Several calls over one cache: the prompt, then tokens one by one, for rows of different length. */
function cachedCase(
  note: string,
  config: CachedAttentionConfig,
  [h, kv, d]: readonly [number, number, number],
): ConformanceCase {
  const [b, prompt, steps, capacity] = [3, 4, 3, 8];
  const width = prompt + steps;
  const inputs = [
    sample([b, h, width, d]),
    sample([b, kv, width, d], 'float32', { seed: 1 }),
    sample([b, kv, width, d], 'float32', { seed: 2 }),
    // What the cache holds beyond the tokens written so far must never be seen.
    given(new Array(b * kv * capacity * d).fill(50), 'float32', [b, kv, capacity, d]),
    given([4, 1, 2], 'int32'),
  ];
  const run = (q: Tensor, k: Tensor, v: Tensor, cache: Tensor, real: Tensor): Tensor[] => {
    const part = (x: Tensor, start: number, end: number) => x.slice(2, start, end);
    const call = (start: number, end: number, pastKeys: Tensor, pastValues: Tensor, lengths: Tensor) =>
      cachedAttention(
        { q: part(q, start, end), k: part(k, start, end), v: part(v, start, end), pastKeys, pastValues, lengths },
        config,
      );
    let lengths = real.mul(0);
    let state = call(0, prompt, cache, cache.neg(), lengths);
    const outputs = [state.output];
    lengths = real;
    for (let step = 0; step < steps; step++) {
      state = call(prompt + step, prompt + step + 1, state.keys, state.values, lengths);
      outputs.push(state.output);
      lengths = lengths.add(1);
    }
    // Beyond each row's own tokens the cache holds its padding and then what was there before.
    return [...outputs, state.keys, state.values];
  };
  return defineCase('cachedAttention', inputs, run as (...inputs: Tensor[]) => Tensor[], {
    note,
    variables: [0, 1, 2],
  });
}

function tokenLogProbsCases(): ConformanceCase[] {
  const score = (n: number, d: number, vocabulary: number, options: TokenLogProbsOptions, note: string) =>
    defineCase(
      'tokenLogProbs',
      [sample([n, d]), sample([vocabulary, d], 'float32', { seed: 1 }), indices([n], vocabulary)],
      (hidden, head, targets) => {
        const { logProbs, entropies, isGreedy, logSumExps } = tokenLogProbs(hidden!, head!, targets!, options);
        // `isGreedy` is a step function of the logits: it is checked, but has no gradient.
        return [logProbs, entropies, isGreedy.cast('int32'), logSumExps];
      },
      { note },
    );
  return [
    score(5, 3, 7, {}, 'in one piece'),
    score(5, 3, 7, { chunkSize: 2 }, 'in chunks of 2'),
    score(6, 3, 7, { chunkSize: 3, temperature: 0.7 }, 'in chunks of 3, temperature 0.7'),
    score(1, 1, 1, {}, 'size 1'),
    score(0, 3, 7, { chunkSize: 2 }, 'no rows'),
    score(9, 8, 101, { chunkSize: 40, temperature: 2 }, 'in chunks of 40, temperature 2'),
    ...[[0], [1], [0, 1]].map((variables) =>
      defineCase(
        'tokenLogProbs',
        [sample([4, 3]), sample([7, 3], 'float32', { seed: 1 }), indices([4], 7)],
        (hidden, head, targets) => tokenLogProbs(hidden!, head!, targets!, { chunkSize: 3 }).logProbs,
        { note: `the log-probabilities alone, gradient to ${variables.join(' and ')}`, variables },
      ),
    ),
    defineCase(
      'tokenLogProbs',
      [sample([4, 3]), sample([7, 3], 'float32', { seed: 1 }), indices([4], 7)],
      (hidden, head, targets) => {
        const values = (h: Tensor) => tokenLogProbs(h, head!, targets!, { chunkSize: 3 });
        const loss = (h: Tensor) => values(h).logProbs.square().sum().add(values(h).entropies.exp().sum());
        return grad(loss)(hidden!);
      },
      { note: 'the gradient to the hidden states, whose own gradient is checked' },
    ),
  ];
}

/** The same case in float16; the tolerance covers the roundings between the steps of a decomposition. */
function inHalf(one: ConformanceCase): ConformanceCase {
  const inputs = one.inputs.map((input) =>
    input.dtype === 'float32' ? given(Array.from(input.data), 'float16', input.shape) : input,
  );
  return { ...one, name: `${one.name}, in float16`, inputs, tolerance: 1e-2 };
}

/** The cases, and the first of them in float16 as well. */
const withHalf = (cases: ConformanceCase[]): ConformanceCase[] => [...cases, inHalf(cases[0]!)];

/** Cases of the fused kernels, by the kernel's name. */
export const kernelCases: Readonly<Record<string, () => ConformanceCase[]>> = {
  softmax: softmaxCases,
  logSoftmax: () => withHalf(logSoftmaxCases()),
  rmsNorm: () => withHalf(normCases().rmsNorm),
  layerNorm: () => withHalf(normCases().layerNorm),
  rotary: () => withHalf(rotaryCases()),
  attention: () => withHalf(attentionCases()),
  cachedAttention: () =>
    withHalf([
      cachedCase('several steps, ragged lengths', { scale: 0.5 }, [2, 2, 4]),
      cachedCase('grouped queries', { scale: 0.4 }, [4, 2, 4]),
      cachedCase('sliding window 3', { scale: 0.4, slidingWindow: 3 }, [2, 1, 4]),
      cachedCase('heads of 8', { scale: 0.35 }, [3, 1, 8]),
    ]),
  tokenLogProbs: () => withHalf(tokenLogProbsCases()),
};
