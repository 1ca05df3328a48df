import { full, iota, tensor, zeros } from '../create.js';
import type { DType } from '../dtype.js';
import type { OpName } from '../graph/node.js';
import { attention, cachedAttention } from '../kernels/attention.js';
import { layerNorm, rmsNorm } from '../kernels/norms.js';
import { rotary } from '../kernels/rotary.js';
import { softmax } from '../kernels/softmax.js';
import { tokenLogProbs } from '../kernels/token-log-probs.js';
import { randomBits } from '../random/random.js';
import { addAlongAxis, apply, concat, scatterAdd, type Tensor, where } from '../tensor.js';

/** A call that must throw where it is written. */
export interface BadCall {
  readonly call: () => unknown;
  /** Stable code of the error. */
  readonly code: 'SHAPE' | 'DTYPE';
  /** What the message must name: the operation and the shapes or dtypes. */
  readonly names: readonly string[];
}

const x = (shape: readonly number[], dtype: DType = 'float32'): Tensor => zeros(shape, dtype);
const int = (shape: readonly number[]): Tensor => zeros(shape, 'int32');

const shape = (op: string, names: readonly string[], call: () => unknown): BadCall => ({
  call,
  code: 'SHAPE',
  names: [op, ...names],
});
const dtype = (op: string, names: readonly string[], call: () => unknown): BadCall => ({
  call,
  code: 'DTYPE',
  names: [op, ...names],
});

const unary = (op: OpName, wrong: DType): BadCall[] => [
  dtype(op, [wrong], () => apply(op, [x([2], wrong)], {} as never)),
  dtype(op, ['bfloat16'], () => apply(op, [x([2], 'bfloat16')], {} as never)),
];

const binary = (op: OpName, ok: DType, wrong: DType): BadCall[] => [
  shape(op, ['[2, 3]', '[2, 4]'], () => apply(op, [x([2, 3], ok), x([2, 4], ok)], {} as never)),
  shape(op, ['[0]', '[2]'], () => apply(op, [x([0], ok), x([2], ok)], {} as never)),
  dtype(op, [ok, wrong], () => apply(op, [x([2], ok), x([2], wrong)], {} as never)),
  dtype(op, [wrong], () => apply(op, [x([2], wrong), x([2], wrong)], {} as never)),
];

/** Wrong shapes and dtypes per primitive. Empty where a primitive takes whatever it is given. */
const byPrimitive: { readonly [Name in OpName]: readonly BadCall[] } = {
  data: [
    shape('tensor', ['[2, 2]'], () => tensor([1, 2, 3], [2, 2])),
    shape('tensor', ['[2, 2]'], () => tensor(new Float32Array(3), [2, 2])),
    shape('tensor', ['[2, 2]'], () => tensor([[1, 2], [3]])),
    dtype('tensor', ['int32'], () => tensor(new Float32Array(2), [2], 'int32')),
  ],
  input: [],
  full: [
    shape('full', ['[-1]'], () => full([-1], 0)),
    shape('full', ['[1.5]'], () => full([1.5], 0)),
    dtype('full', ['int32', '0.5'], () => full([2], 0.5, 'int32')),
    dtype('full', ['uint8', '-1'], () => full([2], -1, 'uint8')),
    dtype('full', ['int8', '128'], () => int([2]).cast('int8').add(128)),
    dtype('full', ['bool', '2'], () => full([2], 2, 'bool')),
    // A mean of integers would silently be 0.
    dtype('full', ['int32'], () => int([3]).mean()),
  ],
  iota: [
    shape('iota', ['[2]', '1'], () => iota([2], 1)),
    shape('iota', ['[]'], () => iota([])),
    shape('iota', ['[-2]'], () => iota([-2])),
  ],
  randomBits: [
    shape('randomBits', ['[3]'], () => randomBits(int([3]), [2])),
    shape('randomBits', ['[-2]'], () => randomBits(int([2]), [-2])),
    dtype('randomBits', ['float32'], () => randomBits(x([2]), [2])),
  ],

  neg: unary('neg', 'uint8'),
  exp: unary('exp', 'int32'),
  log: unary('log', 'int32'),
  sqrt: unary('sqrt', 'int8'),
  reciprocal: unary('reciprocal', 'int32'),
  sin: unary('sin', 'bool'),
  cos: unary('cos', 'int32'),
  tanh: unary('tanh', 'uint8'),
  erf: unary('erf', 'int32'),
  sigmoid: unary('sigmoid', 'int32'),
  abs: unary('abs', 'bool'),
  sign: unary('sign', 'uint8'),
  floor: unary('floor', 'int32'),
  not: unary('not', 'float32'),
  isNaN: unary('isNaN', 'int32'),
  cast: [],

  add: binary('add', 'float32', 'bool'),
  sub: binary('sub', 'int32', 'bool'),
  mul: binary('mul', 'int8', 'bfloat16'),
  div: binary('div', 'float32', 'int32'),
  pow: binary('pow', 'float16', 'int32'),
  maximum: binary('maximum', 'float32', 'bool'),
  minimum: binary('minimum', 'uint8', 'bool'),
  mod: binary('mod', 'int32', 'float32'),
  equal: binary('equal', 'bool', 'bfloat16'),
  less: binary('less', 'float32', 'bool'),
  lessEqual: binary('lessEqual', 'int32', 'bool'),
  and: binary('and', 'bool', 'int32'),
  or: binary('or', 'bool', 'float32'),
  where: [
    shape('where', ['[2]', '[3]'], () => where(x([2], 'bool'), x([3]), x([3]))),
    shape('where', ['[3]', '[2]'], () => where(x([3], 'bool'), x([2]), x([1]))),
    dtype('where', ['float32'], () => where(x([3]), x([3]), x([3]))),
    dtype('where', ['float32', 'int32'], () => where(x([3], 'bool'), x([3]), int([3]))),
  ],

  reshape: [
    shape('reshape', ['[2, 3]', '[4, 2]'], () => x([2, 3]).reshape([4, 2])),
    shape('reshape', ['[4]', '-1'], () => x([4]).reshape([-1, -1])),
    shape('reshape', ['[0]', '-1'], () => x([0]).reshape([0, -1])),
    shape('reshape', ['[2, 3]', '-1'], () => x([2, 3]).reshape([-1, 4])),
    shape('expandDims', ['[2, 3]', '4'], () => x([2, 3]).expandDims(4)),
    shape('squeeze', ['[2, 3]', '1'], () => x([2, 3]).squeeze(1)),
  ],
  transpose: [
    shape('transpose', ['[2, 3]', '[0, 0]'], () => x([2, 3]).transpose([0, 0])),
    shape('transpose', ['[2, 3]', '[0]'], () => x([2, 3]).transpose([0])),
    shape('transpose', ['[2]'], () => x([2]).transpose()),
  ],
  broadcastTo: [
    shape('broadcastTo', ['[2, 3]', '[2, 4]'], () => x([2, 3]).broadcastTo([2, 4])),
    shape('broadcastTo', ['[2, 3]', '[3]'], () => x([2, 3]).broadcastTo([3])),
    shape('broadcastTo', ['[2]', '[1]'], () => x([2]).broadcastTo([1])),
  ],
  slice: [
    shape('slice', ['[4]', '2:6'], () => x([4]).slice(0, 2, 6)),
    shape('slice', ['[4]', '3:1'], () => x([4]).slice(0, 3, 1)),
    shape('slice', ['[4]', '0:2:0'], () => x([4]).slice(0, 0, 2, 0)),
    shape('slice', ['[4]', '0.5'], () => x([4]).slice(0, 0.5)),
    shape('slice', ['[4]', 'NaN'], () => x([4]).slice(0, Number.NaN)),
    shape('slice', ['[4]', '1'], () => x([4]).slice(1, 0)),
  ],
  pad: [
    shape('pad', ['[2]', '-1'], () => x([2]).pad(0, -1, 0)),
    shape('pad', ['[2]', '2'], () => x([2]).pad(2, 1, 0)),
    dtype('pad', ['int32', '0.5'], () => int([2]).pad(0, 1, 1, 0.5)),
  ],
  concat: [
    shape('concat', ['[2, 3]', '[3, 3]'], () => concat([x([2, 3]), x([3, 3])], 1)),
    shape('concat', ['[2]', '[2, 1]'], () => concat([x([2]), x([2, 1])], 0)),
    shape('concat', ['[2]', '1'], () => concat([x([2]), x([2])], 1)),
    shape('concat', ['at least one'], () => concat([], 0)),
    dtype('concat', ['float32', 'int32'], () => concat([x([2]), int([2])], 0)),
  ],

  sum: [
    shape('sum', ['[2, 3]', '2'], () => x([2, 3]).sum(2)),
    shape('sum', ['[2, 3]', 'repeat'], () => x([2, 3]).sum([0, -2])),
    dtype('sum', ['bool'], () => x([2], 'bool').sum()),
  ],
  max: [
    shape('max', ['[2, 0]'], () => x([2, 0]).max(1)),
    shape('max', ['[2]', '-2'], () => x([2]).max(-2)),
    dtype('max', ['bfloat16'], () => x([2], 'bfloat16').max()),
  ],
  argMax: [
    shape('argMax', ['[0]'], () => x([0]).argMax(0)),
    shape('argMax', ['[2]', '1'], () => x([2]).argMax(1)),
    dtype('argMax', ['bool'], () => x([2], 'bool').argMax(0)),
  ],
  cumsum: [
    shape('cumsum', ['[2]', '1'], () => x([2]).cumsum(1)),
    dtype('cumsum', ['int8'], () => x([2], 'int8').cumsum(0)),
  ],
  topK: [
    shape('topK', ['[2, 3]', '4'], () => x([2, 3]).topK(4)),
    shape('topK', ['[]'], () => x([]).topK(1)),
    shape('topK', ['[3]', '0'], () => x([3]).topK(0)),
    dtype('topK', ['int32'], () => int([3]).topK(1)),
  ],
  matmul: [
    shape('matmul', ['[2, 3]', '[4, 5]'], () => x([2, 3]).matmul(x([4, 5]))),
    shape('matmul', ['[2, 3]', '[3, 4]', 'transposeB'], () => x([2, 3]).matmul(x([3, 4]), { transposeB: true })),
    shape('matmul', ['[3]', '[3, 4]'], () => x([3]).matmul(x([3, 4]))),
    shape('matmul', ['[2]', '[3]'], () => x([2, 4, 5]).matmul(x([3, 5, 6]))),
    dtype('matmul', ['float32', 'float16'], () => x([2, 3]).matmul(x([3, 4], 'float16'))),
    dtype('matmul', ['int32'], () => int([2, 3]).matmul(int([3, 4]))),
  ],

  gather: [
    shape('gather', ['[2]', '1'], () => x([2]).gather(int([1]), 1)),
    dtype('gather', ['float32'], () => x([2]).gather(x([1]))),
  ],
  scatterAdd: [
    shape('scatterAdd', ['[2]', '[3, 4]'], () => scatterAdd(int([2]), x([3, 4]), { axis: 0, size: 5 })),
    shape('scatterAdd', ['[]', '[3]', '-1'], () => scatterAdd(int([]), x([3]), { axis: -1, size: 5 })),
    shape('scatterAdd', ['[3]', '-5'], () => scatterAdd(int([3]), x([3]), { axis: 0, size: -5 })),
    dtype('scatterAdd', ['float32'], () => scatterAdd(x([2]), x([2]), { axis: 0, size: 5 })),
    dtype('scatterAdd', ['bool'], () => scatterAdd(int([2]), x([2], 'bool'), { axis: 0, size: 5 })),
  ],
  takeAlongAxis: [
    shape('takeAlongAxis', ['[2, 3]', '[3, 1]'], () => x([2, 3]).takeAlongAxis(int([3, 1]), 1)),
    shape('takeAlongAxis', ['[2, 3]', '[2]'], () => x([2, 3]).takeAlongAxis(int([2]), 1)),
    shape('takeAlongAxis', ['[2, 3]', '2'], () => x([2, 3]).takeAlongAxis(int([2, 3]), 2)),
    dtype('takeAlongAxis', ['float32'], () => x([2]).takeAlongAxis(x([2]), 0)),
  ],
  addAlongAxis: [
    shape('addAlongAxis', ['[2]', '[3]'], () => addAlongAxis(int([2]), x([3]), { axis: 0, size: 5 })),
    shape('addAlongAxis', ['[2]', '1'], () => addAlongAxis(int([2]), x([2]), { axis: 1, size: 5 })),
    shape('addAlongAxis', ['[2]', '2.5'], () => addAlongAxis(int([2]), x([2]), { axis: 0, size: 2.5 })),
    dtype('addAlongAxis', ['float32'], () => addAlongAxis(x([2]), x([2]), { axis: 0, size: 5 })),
  ],
  putAlongAxis: [
    shape('putAlongAxis', ['[2, 3]', '[3, 1]'], () => x([2, 3]).putAlongAxis(int([3, 1]), x([3, 1]), 1)),
    shape('putAlongAxis', ['[2, 1]', '[2, 2]'], () => x([2, 3]).putAlongAxis(int([2, 1]), x([2, 2]), 1)),
    dtype('putAlongAxis', ['float32', 'int32'], () => x([2]).putAlongAxis(int([1]), int([1]), 0)),
    dtype('putAlongAxis', ['float32'], () => x([2]).putAlongAxis(x([1]), x([1]), 0)),
  ],

  barrier: [],
  stopGradient: [],
  customVjp: [],
  kernel: [
    shape('rmsNorm', ['[2, 3]', '[4]'], () => rmsNorm(x([2, 3]), x([4]), { epsilon: 1 })),
    dtype('rmsNorm', ['float32', 'float16'], () => rmsNorm(x([2, 3]), x([3], 'float16'), { epsilon: 1 })),
    shape('layerNorm', ['[2, 3]', '[1]'], () => layerNorm(x([2, 3]), x([3]), x([1]), { epsilon: 1 })),
    dtype('layerNorm', ['int32'], () => layerNorm(int([2, 3]), int([3]), int([3]), { epsilon: 1 })),
    shape('softmax', ['[]'], () => softmax(x([]))),
    shape('softmax', ['[2, 0]'], () => softmax(x([2, 0]))),
    dtype('softmax', ['int32'], () => softmax(int([2]))),
    shape('rotary', ['[1, 1, 2, 4]', '[1, 2, 3]'], () => rotary(x([1, 1, 2, 4]), x([1, 2, 3]), x([1, 2, 2]))),
    dtype('rotary', ['float32', 'float16'], () => rotary(x([1, 1, 1, 2]), x([1, 1, 1], 'float16'), x([1, 1, 1]))),
    shape('attention', ['[1, 3, 2, 4]', '[1, 2, 5, 4]'], () =>
      attention(x([1, 3, 2, 4]), x([1, 2, 5, 4]), x([1, 2, 5, 4]), x([1, 1, 2, 5]), { scale: 1 }),
    ),
    shape('attention', ['[1, 2, 2, 4]', '[1, 1, 2, 4]'], () =>
      attention(x([1, 2, 2, 4]), x([1, 2, 5, 4]), x([1, 2, 5, 4]), x([1, 1, 2, 4]), { scale: 1 }),
    ),
    dtype('attention', ['float32', 'float16'], () =>
      attention(x([1, 2, 2, 4]), x([1, 2, 5, 4], 'float16'), x([1, 2, 5, 4]), x([1, 1, 2, 5]), { scale: 1 }),
    ),
    ...cachedAttentionCalls(),
    shape('tokenLogProbs', ['[2, 3]', '[5, 4]'], () => tokenLogProbs(x([2, 3]), x([5, 4]), int([2]))),
    shape('tokenLogProbs', ['[2, 3]', '[3]'], () => tokenLogProbs(x([2, 3]), x([5, 3]), int([3]))),
    dtype('tokenLogProbs', ['float32'], () => tokenLogProbs(x([2, 3]), x([5, 3]), x([2]))),
    dtype('tokenLogProbs', ['float32', 'float16'], () => tokenLogProbs(x([2, 3]), x([5, 3], 'float16'), int([2]))),
  ],
};

function cachedAttentionCalls(): BadCall[] {
  const inputs = (kv: number, s: number, lengths: Tensor) => ({
    q: x([2, 4, 1, 8]),
    k: x([2, 2, s, 8]),
    v: x([2, 2, s, 8]),
    pastKeys: x([2, kv, 6, 8]),
    pastValues: x([2, kv, 6, 8]),
    lengths,
  });
  const call = (kv: number, s: number, lengths: Tensor) => () => cachedAttention(inputs(kv, s, lengths), { scale: 1 });
  return [
    shape('cachedAttention', ['[2, 2, 1, 8]', '[2, 4, 6, 8]'], call(4, 1, int([2]))),
    shape('cachedAttention', ['[2, 4, 1, 8]', '[2, 2, 3, 8]'], call(2, 3, int([2]))),
    shape('cachedAttention', ['[3]'], call(2, 1, int([3]))),
    dtype('cachedAttention', ['float32'], call(2, 1, x([2]))),
  ];
}

/** Every call that must throw, with the primitive it belongs to. */
export const badCalls = (): readonly (BadCall & { readonly op: OpName })[] =>
  Object.entries(byPrimitive).flatMap(([op, calls]) => calls.map((call) => ({ ...call, op: op as OpName })));
