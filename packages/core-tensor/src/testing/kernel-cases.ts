import { grad } from '../autodiff/grad.js';
import { gelu, geluTanh, silu } from '../kernels/activations.js';
import { layerNorm, rmsNorm } from '../kernels/norms.js';
import { rotary } from '../kernels/rotary.js';
import { logSoftmax, logSumExp, softmax } from '../kernels/softmax.js';
import { swiglu } from '../kernels/swiglu.js';
import { type TokenLogProbsOptions, tokenLogProbs } from '../kernels/token-log-probs.js';
import type { Shape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { attentionCases, cachedAttentionCases, flashAttentionCases } from './attention-cases.js';
import { type ConformanceCase, defineCase, given, indices, sample } from './case.js';
import { customOpCases } from './custom-op-cases.js';

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
    return defineCase('rotary', inputs, (t, c, s) => rotary(t!, c!, s!), note ? { note } : {});
  };
  return [
    turn([2, 3, 4, 6], [2, 4, 3]),
    turn([2, 3, 4, 6], [1, 4, 3], 'angles shared by the rows'),
    turn([1, 1, 1, 2], [1, 1, 1]),
    turn([2, 2, 0, 4], [1, 0, 2], 'empty'),
  ];
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
    score(5, 3, 7, { chunkSize: 3, temperature: 0.7, softCap: 1.5 }, 'in chunks of 3, temperature 0.7, soft cap 1.5'),
    score(9, 8, 101, { chunkSize: 40, temperature: 2 }, 'in chunks of 40, temperature 2'),
    ...[[0], [1], [0, 1]].flatMap((variables) =>
      [{ chunkSize: 3 }, { chunkSize: 3, softCap: 1.5 }].map((options) =>
        defineCase(
          'tokenLogProbs',
          [sample([4, 3]), sample([7, 3], 'float32', { seed: 1 }), indices([4], 7)],
          (hidden, head, targets) => tokenLogProbs(hidden!, head!, targets!, options).logProbs,
          {
            note: `the log-probabilities alone${'softCap' in options ? ', soft cap' : ''}, gradient to ${variables.join(' and ')}`,
            variables,
          },
        ),
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

function activationCases(): Record<'silu' | 'swiglu' | 'gelu', ConformanceCase[]> {
  const shapes: readonly Shape[] = [[2, 5], [3, 1, 4], [], [0, 4], [13, 67]];
  const wide = given([-90, -20, -1e-6, 1e-6, 20, 90]);
  const other = (shape: Shape) => sample(shape, 'float32', { seed: 1 });
  return {
    silu: [
      ...shapes.map((shape) => defineCase('silu', [sample(shape)], (x) => silu(x!))),
      defineCase('silu', [wide], (x) => silu(x!), { note: 'far from 0' }),
    ],
    swiglu: [
      ...shapes.map((shape) => defineCase('swiglu', [sample(shape), other(shape)], (gate, up) => swiglu(gate!, up!))),
      defineCase('swiglu', [wide, other([6])], (gate, up) => swiglu(gate!, up!), { note: 'far from 0' }),
    ],
    gelu: [
      ...shapes.map((shape) => defineCase('gelu', [sample(shape)], (x) => gelu(x!))),
      ...shapes.map((shape) => defineCase('gelu', [sample(shape)], (x) => geluTanh(x!), { note: 'by tanh' })),
      defineCase('gelu', [wide], (x) => gelu(x!), { note: 'far from 0' }),
    ],
  };
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
  silu: () => withHalf(activationCases().silu),
  swiglu: () => withHalf(activationCases().swiglu),
  gelu: () => withHalf(activationCases().gelu),
  rmsNorm: () => withHalf(normCases().rmsNorm),
  layerNorm: () => withHalf(normCases().layerNorm),
  rotary: () => withHalf(rotaryCases()),
  attention: () => withHalf(attentionCases()),
  flashAttention: () => withHalf(flashAttentionCases()),
  cachedAttention: () => withHalf(cachedAttentionCases()),
  tokenLogProbs: () => withHalf(tokenLogProbsCases()),
  'operation of one’s own': customOpCases,
};
