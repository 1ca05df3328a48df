import { EngineError } from '../../errors.js';
import { type GraphNode, specOf, type Value } from '../../graph/node.js';
import type { GeluConfig } from '../../kernels/activations.js';
import type { CachedAttentionConfig } from '../../kernels/attention.js';
import type { NormConfig } from '../../kernels/norms.js';
import type { OnnxForward } from '../../kernels/onnx-forward.js';
import { sizeOf } from '../../shape.js';
import { quantizedRules } from './lower-quantized.js';
import type { Lowering, LoweringTarget } from './lowering.js';
import { onnxTypes } from './proto.js';

export type KernelRule = (node: GraphNode<'kernel'>, lowering: Lowering) => readonly string[];

/** A rule written for operands and results of one float type, used for any float dtype. */
export const inComputeType =
  (write: (inputs: string[], node: GraphNode<'kernel'>, lowering: Lowering) => string[]): KernelRule =>
  (node, lowering) => {
    const inputs = node.inputs.map((input) => lowering.nameAs(input, lowering.computeDType(specOf(input).dtype)));
    return write(inputs, node, lowering).map((name, i) => {
      const dtype = node.outputs[i]?.dtype ?? 'float32';
      return lowering.convert(name, lowering.computeDType(dtype), dtype);
    });
  };

export const configOf = <Config>(node: GraphNode<'kernel'>): Config => node.attributes.config as Config;

/** The fused kernels that ONNX Runtime has kernels for, by name. */
export const kernelRules: Readonly<Record<string, KernelRule>> = {
  ...quantizedRules,

  softmax: inComputeType(([x], _, { builder }) => [builder.op('Softmax', [x!], { axis: -1 })]),

  logSoftmax: inComputeType(([x], _, { builder }) => [builder.op('LogSoftmax', [x!], { axis: -1 })]),

  silu: inComputeType(([x], _, { builder }) => [builder.op('QuickGelu', [x!], { alpha: { float: 1 } })]),

  swiglu: inComputeType((inputs, node, { builder }) => {
    const { values, shape = node.outputs[0]!.shape } = builder.beforeReshape(inputs);
    const [gate, up] = values as [string, string];
    const product = builder.op('Mul', [builder.op('QuickGelu', [gate], { alpha: { float: 1 } }), up]);
    return [builder.reshape(builder.shaped(product, shape), node.outputs[0]!.shape)];
  }),

  gelu: inComputeType(([x], node, { builder }) => [
    builder.op('Gelu', [x!], { approximate: configOf<GeluConfig>(node).approximate }),
  ]),

  rmsNorm: inComputeType(([x, weight], node, { builder }) => {
    const { value, shape = specOf(node.inputs[0]!).shape } = builder.rowsOf(x!);
    const [y, inverse] = builder.ops('SimplifiedLayerNormalization', [value, weight!], 2, {
      axis: -1,
      epsilon: { float: configOf<NormConfig>(node).epsilon },
      stash_type: 1,
    });
    const [normalized, factors] = [builder.shaped(y!, shape), builder.shaped(inverse!, [...shape.slice(0, -1), 1])];
    return [normalized, factors].map((name, i) => builder.reshape(name, node.outputs[i]!.shape));
  }),

  layerNorm: inComputeType(([x, weight, bias], node, { builder }) => [
    builder.op('LayerNormalization', [x!, weight!, bias!], {
      axis: -1,
      epsilon: { float: configOf<NormConfig>(node).epsilon },
    }),
  ]),

  rotary: rotaryTimes(1),

  putRows: (node, lowering) => {
    const [x, rows, values] = node.inputs.map((input) => lowering.name(input));
    const [count] = specOf(node.inputs[1]!).shape as [number];
    const at = lowering.builder.sharedOp('Cast', [lowering.builder.reshape(rows!, [count, 1])], {
      to: onnxTypes.int64,
    });
    return [lowering.builder.op('ScatterND', [x!, at, values!])];
  },

  // Only for the case that `canUseGroupQueryAttention` admits: one new token a row, caches written in place.
  cachedAttention: (node, lowering) => {
    const { builder } = lowering;
    const [query, ...others] = node.inputs as [Value, ...Value[]];
    const [k, v, pastKeys, pastValues, lengths] = others.map((input) => lowering.name(input));
    const [batch, heads, , width] = specOf(query).shape as [number, number, number, number];
    const keyValueHeads = specOf(node.inputs[1]!).shape[1]!;
    const { scale, softCap = 0, slidingWindow = -1 } = configOf<CachedAttentionConfig>(node);
    const flat = (name: string, count: number) => builder.reshape(name, [batch, 1, count * width]);
    const longest = builder.sharedOp('ReduceMax', [lengths!], { keepdims: 0 });
    const total = builder.sharedOp('Add', [longest, builder.constant('int32', [], [1])]);
    // GEMV path: MLAS multiplies one row at memory speed without a scale factor, which the operator's tiled path does not use; a
    // sink of no weight, which the tiled path does not support, keeps the operator off it.
    const { mlas } = lowering.target;
    const [before, within] = mlas ? [scale, 1] : [1, scale];
    const noSink = mlas ? ['', '', '', '', builder.constant('float32', [heads], new Array(heads).fill(-3e38))] : [];
    const inputs = [
      flat(scaledQuery(query, lowering, before), heads),
      flat(k!, keyValueHeads),
      flat(v!, keyValueHeads),
      pastKeys!,
      pastValues!,
      lengths!,
      total,
      ...noSink,
    ];
    const [output, keys, values] = builder.ops('GroupQueryAttention', inputs, 3, {
      num_heads: heads,
      kv_num_heads: keyValueHeads,
      scale: { float: within },
      softcap: { float: softCap },
      local_window_size: slidingWindow,
    });
    builder.shaped(output!, [batch, 1, heads * width]);
    return [builder.reshape(output!, [batch, heads, 1, width]), keys!, values!];
  },
};

/**
 * x turned, times `scale`. The angles of every position are the rows of the table, and row r of the batch reads its own part
 * of it.
 */
function rotaryTimes(scale: number): KernelRule {
  return inComputeType(([x, cos, sin], node, { builder }) => {
    const { shape } = specOf(node.inputs[0]!);
    const [batch, heads, length, width] = shape as [number, number, number, number];
    const [tables, , half] = specOf(node.inputs[1]!).shape as [number, number, number];
    const table = (name: string) => {
      const rows = builder.reshape(name, [tables * length, half]);
      return scale === 1 ? rows : builder.sharedOp('Mul', [rows, builder.constant('float32', [], [scale])]);
    };
    const positions = builder.constant(
      'int64',
      [batch, length],
      Array.from({ length: batch * length }, (_, i) => (tables === 1 ? i % length : i)),
    );
    // Contiguous heads of one token, the layout of products and of GroupQueryAttention.
    const flat = [batch, 1, heads * width];
    const given = length === 1 ? builder.reshape(x!, flat) : x!;
    const turned = builder.op('RotaryEmbedding', [given, positions, table(cos!), table(sin!)], { interleaved: 0 });
    return [length === 1 ? builder.reshape(builder.shaped(turned, flat), shape) : turned];
  });
}

/** The query of an attention times `scale`: by its angles, if it is turned on the way. */
function scaledQuery({ node, index }: Value, lowering: Lowering, scale: number): string {
  const { builder } = lowering;
  if (lowering.fused.has(node)) return rotaryTimes(scale)(node as GraphNode<'kernel'>, lowering)[0]!;
  const query = lowering.name({ node, index });
  return scale === 1 ? query : builder.op('Mul', [query, builder.constant('float32', [], [scale])]);
}

/** The sum of an addition whose normalisation is computed with it. */
export function lowerResidualNorm(sum: GraphNode<'add'>, lowering: Lowering): string[] | undefined {
  const norm = lowering.residualNorms.get(sum);
  if (!norm) return undefined;
  const { builder } = lowering;
  const { shape } = sum.outputs[0]!;
  const [x, skip] = sum.inputs.map((input) => lowering.name(input));
  const given = builder.beforeReshape([x!, skip!]);
  // The rows that are normalised are those of the last axis.
  const isOfRows = given.shape?.at(-1) === shape.at(-1) && (given.shape?.length === 2 || given.shape?.length === 3);
  const { values, shape: before = shape } = isOfRows ? given : { values: [x!, skip!] };
  const [normalized, , , total] = builder.ops(
    'SkipSimplifiedLayerNormalization',
    [...values, lowering.name(norm.inputs[1]!)],
    4,
    { epsilon: { float: configOf<NormConfig>(norm).epsilon } },
    undefined,
    [1, 2],
  );
  const [y, z] = [normalized, total].map((name) => builder.reshape(builder.shaped(name!, before), shape));
  lowering.computed(norm, [y!]);
  return [z!];
}

/** The forward that a kernel brings for this engine. */
function ownForward(forward: OnnxForward<never>): KernelRule {
  const write = inComputeType((names, node, { builder }) => {
    const results = forward({
      inputs: node.inputs.map((input, i) => ({ ...specOf(input), name: names[i]! })),
      outputs: node.outputs,
      config: node.attributes.config as never,
      op: (type, operands, { attributes = {}, outputs = 1, domain } = {}) =>
        builder.ops(type, operands, outputs, attributes, domain),
      constant: (type, shape, values) => builder.constant(type, shape, values),
    });
    return [...results];
  });
  return (node, lowering) => {
    const { name } = node.attributes.kernel;
    if (node.inputs.some((input) => sizeOf(specOf(input).shape) === 0)) {
      throw new EngineError('onnxruntime', `${name} got an empty operand, which lower.onnxruntime cannot read`);
    }
    const results = write(node, lowering);
    if (results.length === node.outputs.length) return results;
    const counts = `${results.length} outputs, not ${node.outputs.length}`;
    throw new EngineError('onnxruntime', `lower.onnxruntime of ${name} gave ${counts}`);
  };
}

/** How a kernel node is lowered; a forward of the kernel's own wins. */
export function kernelRule(node: GraphNode<'kernel'>, rules: Readonly<Record<string, KernelRule>>): KernelRule {
  const { name, lower } = node.attributes.kernel;
  const rule = lower?.onnxruntime ? ownForward(lower.onnxruntime) : rules[name];
  if (!rule) throw new EngineError('onnxruntime', `no lowering of ${name}; decompose it, or add lower.onnxruntime`);
  return rule;
}

/**
 * Whether GroupQueryAttention computes this `cachedAttention`. It reads and extends a cache in place, so both caches
 * must be memory that it may write to (`mayOverwrite`), of the same head width, a multiple of 8; it knows one new token a row
 * at lengths of their own.
 */
export function canUseGroupQueryAttention(
  node: GraphNode<'kernel'>,
  mayOverwrite: (node: GraphNode<'kernel'>, input: number, output: number) => boolean,
  target: Pick<LoweringTarget, 'nativeFloat16' | 'windowedAttention'>,
): boolean {
  const [q, , , keys, values] = node.inputs.map((input) => specOf(input));
  return (
    q!.shape[2] === 1 &&
    (q!.dtype === 'float32' || (target.nativeFloat16 && q!.dtype === 'float16')) &&
    keys!.dtype === q!.dtype &&
    sizeOf(q!.shape) > 0 &&
    keys!.shape[3]! % 8 === 0 &&
    values!.shape[3] === keys!.shape[3] &&
    // No sinks either, which are a seventh input.
    node.inputs.length === 6 &&
    (target.windowedAttention || configOf<CachedAttentionConfig>(node).slidingWindow === undefined) &&
    !configOf<CachedAttentionConfig>(node).alibi &&
    mayOverwrite(node, 3, 1) &&
    mayOverwrite(node, 4, 2)
  );
}
