import { concat, layerNorm, nameScope, ones, rmsNorm, rotary, type Tensor, zeros } from '@posttrain/core-tensor';
import type { DecoderConfig, NormConfig, RotaryConfig } from '../config/index.js';
import { activations } from './activations.js';
import { gated, keyValueCacheShape, linearParameters, type Projection, windowOf } from './decoder-layers.js';
import {
  type BoundLayers,
  type ForwardInput,
  joinHeads,
  layerIndices,
  linearModules,
  type ModelFamily,
  type ParameterInfo,
  splitHeads,
} from './family.js';
import { latentAttention, latentNorms, latentProjections } from './latent-attention.js';
import type { ModuleInfo } from './layers.js';
import { expertsProjections, type Mixture, mixtureOfExperts } from './mixture-of-experts.js';
import {
  recurrence as recurrenceLayer,
  recurrenceParameters,
  recurrenceProjections,
  recurrenceState,
} from './recurrence/recurrences.js';
import { rotaryAngles, rotationOf } from './rotary-angles.js';
import { convolutionParameters, convolutionProjections, shortConvolution } from './short-convolution.js';

/** The mixture of a layer; undefined where it has one MLP. */
function mixtureOf({ experts, names, ...sizes }: DecoderConfig, layer: number): Mixture | undefined {
  return experts?.sparseLayers[layer] && names.experts ? { ...sizes, experts, names: names.experts } : undefined;
}

/** The linear layers of a block, in the order in which they compute. */
function projections(config: DecoderConfig, layer: number): Projection[] {
  const { hiddenSize: width, intermediateSize: inner, headDim, names, biases } = config;
  const [q, kv] = [config.numAttentionHeads * headDim, config.numKeyValueHeads * headDim];
  const separate: Projection[] = [
    { name: names.query, in: width, out: config.gatesAttention ? 2 * q : q, bias: biases.qkv },
    { name: names.key, in: width, out: kv, bias: biases.qkv },
    { name: names.value, in: width, out: kv, bias: biases.qkv },
  ];
  const { queryKeyValue, gate, gateUp } = names;
  const { latent } = config;
  const joined = queryKeyValue && { name: queryKeyValue, in: width, out: q + 2 * kv, bias: biases.qkv };
  const inward = (name: string, out = inner): Projection => ({ name, in: width, out, bias: biases.mlp });
  const attention = [...(joined ? [joined] : separate), { name: names.output, in: q, out: width, bias: biases.output }];
  const mlp = [
    ...(gateUp ? [inward(gateUp, 2 * inner)] : [...(gate ? [inward(gate)] : []), inward(names.up)]),
    { name: names.down, in: inner, out: width, bias: biases.mlp },
  ];
  const block = `${names.blocks}.${layer}`;
  const inside = (some: readonly Projection[]) => some.map((one) => ({ ...one, name: `${block}.${one.name}` }));
  const mixture = mixtureOf(config, layer);
  const { convolution } = config;
  if (convolution?.layers[layer]) return [...convolutionProjections(config, convolution, block), ...inside(mlp)];
  const own = recurrenceOf(config, layer);
  const recurring = own ? recurrenceProjections(width, own, block) : [];
  const attending = latent ? latentProjections(config, latent, block) : inside(attention);
  const behind = config.hasMlp ? (mixture ? expertsProjections(mixture, block) : inside(mlp)) : [];
  return [...recurring, ...(own && !own.beside ? [] : attending), ...behind];
}

/** The recurrence of a layer; undefined where it has none. */
const recurrenceOf = ({ recurrence }: DecoderConfig, layer: number) =>
  recurrence?.layers[layer] ? recurrence : undefined;

/** Whether a layer has keys and values. */
const hasKeysIn = (config: DecoderConfig, layer: number): boolean => recurrenceOf(config, layer)?.beside ?? true;

/** Weight and bias of a normalisation. */
function normParameters(name: string, shape: readonly number[], norm: NormConfig): ParameterInfo[] {
  if (!norm.weight) return [];
  const weight: ParameterInfo = { name: `${name}.weight`, shape, init: norm.plusOne ? 'zeros' : 'ones' };
  return norm.bias ? [weight, { name: `${name}.bias`, shape, init: 'zeros' }] : [weight];
}

function queryKeyNormParameters(config: DecoderConfig, block: string): ParameterInfo[] {
  const { queryKeyNorm, names, headDim } = config;
  if (!queryKeyNorm) return [];
  const { norm, over } = queryKeyNorm;
  return [
    [names.queryNorm, config.numAttentionHeads] as const,
    [names.keyNorm, config.numKeyValueHeads] as const,
  ].flatMap(([name, heads]) => {
    const shape = { head: [headDim], each: [heads, headDim], all: [heads * headDim] }[over];
    return normParameters(`${block}.${name}`, shape, norm);
  });
}

/**
 * A decoder of blocks of attention and an MLP, of which the config says everything else: see `DecoderConfig`. The families in
 * `config/decoders` are this with a few words each.
 */
export const decoder: ModelFamily<DecoderConfig> = {
  parameters(config) {
    const { names, norm, hiddenSize: width, vocabSize } = config;
    const normed = (name: string | undefined) => (name === undefined ? [] : normParameters(name, [width], norm));
    const rows = config.maxPositionEmbeddings + config.positionOffset;
    const zeroRow = config.padTokenId === undefined ? {} : { zeroRow: config.padTokenId };
    const isSparse = (layer: number) => config.experts?.sparseLayers[layer] ?? false;
    const block = (layer: number): ParameterInfo[] => {
      const inside = `${names.blocks}.${layer}`;
      const convolves = config.convolution?.layers[layer] ? config.convolution : undefined;
      const own = [names.beforeAttention, names.afterAttention, names.beforeMlp, names.afterMlp];
      const recurrence = recurrenceOf(config, layer);
      return [
        ...linearParameters(projections(config, layer)),
        ...(recurrence ? recurrenceParameters(recurrence, inside) : []),
        ...(!hasKeysIn(config, layer)
          ? []
          : convolves
            ? convolutionParameters(config, convolves, inside)
            : config.latent
              ? latentNorms(config.latent, inside)
              : queryKeyNormParameters(config, inside)),
        ...(isSparse(layer) && names.experts?.bias
          ? [
              {
                name: `${inside}.${names.experts.module}.${names.experts.bias}`,
                shape: [config.experts!.count],
                init: 'zeros' as const,
              },
            ]
          : []),
        ...(names.sinks
          ? [{ name: `${inside}.${names.sinks}`, shape: [config.numAttentionHeads], init: 'normal' as const }]
          : []),
        ...own.flatMap((name) => (name === undefined ? [] : normed(`${inside}.${name}`))),
      ];
    };
    const head = { shape: [vocabSize, width], init: 'normal' } as const;
    return [
      { name: `${names.embedding}.weight`, shape: [vocabSize, width], init: 'normal', ...zeroRow },
      ...(names.positions
        ? [{ name: `${names.positions}.weight`, shape: [rows, width], init: 'normal' as const }]
        : []),
      ...normed(names.embeddingNorm),
      ...layerIndices(config).flatMap(block),
      ...normed(names.finalNorm),
      ...(config.tieWordEmbeddings ? [] : [{ name: 'lm_head.weight', ...head }]),
      ...(config.biases.head ? [{ name: 'lm_head.bias', shape: [vocabSize], init: 'zeros' as const }] : []),
    ];
  },

  modules(config) {
    const { names } = config;
    const outside = { inFeatures: config.hiddenSize, layer: undefined, transposed: false };
    const embedding: ModuleInfo = {
      ...{ ...outside, outFeatures: config.vocabSize, name: names.embedding, kind: 'embedding' },
    };
    const rows = config.maxPositionEmbeddings + config.positionOffset;
    const tied = config.tieWordEmbeddings ? { tiedTo: embedding.name } : {};
    return [
      embedding,
      ...(names.positions
        ? [{ ...outside, outFeatures: rows, name: names.positions, kind: 'embedding' as const }]
        : []),
      ...layerIndices(config).flatMap((layer) =>
        linearModules(projections(config, layer), layer, { transposed: false }),
      ),
      { ...outside, outFeatures: config.vocabSize, name: 'lm_head', kind: 'head', ...tied },
    ];
  },

  cacheShape(config) {
    const shape = keyValueCacheShape(config);
    const { convolution, hiddenSize, recurrence } = config;
    const width = hiddenSize / (2 * shape.kvHeads);
    return {
      ...shape,
      ...(recurrence && {
        hasKeys: recurrence.layers.map((_, layer) => hasKeysIn(config, layer)),
        states: recurrence.layers.map((has) => (has ? recurrenceState(recurrence) : undefined)),
      }),
      ...(convolution && { widths: convolution.layers.map((convolves) => (convolves ? width : shape.headDim)) }),
    };
  },

  attention: (config, layer) => ({
    scale: config.factors.scores,
    ...windowOf(config, layer),
    ...(config.scoreCap !== undefined && { softCap: config.scoreCap }),
    ...(config.alibi && { alibi: true }),
  }),

  logitSoftCap: ({ logitCap }) => logitCap,
  logitFactor: ({ factors }) => factors.logits,
  virtualTokenFactor: ({ factors }) => factors.virtualTokens ?? 1,

  hidden(config, layers, input) {
    const { names, factors } = config;
    const norm = (x: Tensor, name: string) => normalized(layers, x, name, config.norm);
    const scaled = (x: Tensor, factor: number) => (factor === 1 ? x : x.mul(factor));
    const found = scaled(layers.embedding(input.tokens, names.embedding), factors.embedding);
    const placed = names.positions
      ? found.add(layers.embedding(input.positions.add(config.positionOffset), names.positions))
      : found;
    const attend = attentionOf(config, layers, input, placed);

    const block = (layer: number, name: string) => (x: Tensor) => {
      const part = (module: string) => `${name}.${module}`;
      const maybe = (y: Tensor, module: string | undefined) => (module === undefined ? y : norm(y, part(module)));
      const read = maybe(x, names.beforeAttention);
      const place = { layer, block: name };
      const own = recurrenceOf(config, layer);
      const attendedTo = () =>
        scaled(
          layers.linear(attend(scaled(read, factors.attention?.input ?? 1), layer, name), part(names.output)),
          factors.attention?.output ?? 1,
        );
      const recurred = own && recurrenceLayer(own, config.hiddenAct, layers, input, read, place);
      const mixed = config.convolution?.layers[layer]
        ? shortConvolution(config.convolution, layers, input, read, place)
        : recurred
          ? own.beside
            ? recurred.add(attendedTo())
            : recurred
          : attendedTo();
      const attended = maybe(mixed, names.afterAttention);
      const y = layers.residual(x, scaled(attended, factors.residual), layer, 'attention');
      if (!config.hasMlp) return y;
      const isParallel = config.residual === 'parallel';
      const below = isParallel && names.beforeMlp === undefined ? read : maybe(isParallel ? x : y, names.beforeMlp);
      const mixture = mixtureOf(config, layer);
      const fed = mixture ? mixtureOfExperts(mixture, layers, below, name) : feedForward(config, layers, below, name);
      const transformed = maybe(fed, names.afterMlp);
      return layers.residual(y, scaled(transformed, factors.residual), layer, 'mlp', isParallel ? x : y);
    };
    const start = names.embeddingNorm === undefined ? placed : norm(placed, names.embeddingNorm);
    const out = layerIndices(config).reduce((x, layer) => {
      const name = `${names.blocks}.${layer}`;
      return input.block(name, block(layer, name), x);
    }, start);
    return norm(out, names.finalNorm);
  },
};

/** x [..., width] as `how` normalises it, with the weights of the module `name` where it has any. */
function normalized(layers: BoundLayers, x: Tensor, name: string, how: NormConfig): Tensor {
  const { kind, epsilon, plusOne } = how;
  const width = x.shape.at(-1)!;
  if (!how.weight) {
    return nameScope(name, () =>
      kind === 'rms'
        ? rmsNorm(x, ones([width]), { epsilon })
        : layerNorm(x, ones([width]), zeros([width]), { epsilon }),
    );
  }
  return layers.norm(x, name, (states, { weight: own, bias }) => {
    const weight = plusOne ? own.add(1) : own;
    if (weight.shape.length > 1) {
      // Heads [b, heads, s, d] with weights each.
      const even = { epsilon };
      const plain = layerNorm(states, ones([width], states.dtype), zeros([width], states.dtype), even);
      return plain.mul(weight.reshape([1, weight.shape[0]!, 1, width]));
    }
    return kind === 'rms'
      ? rmsNorm(states, weight, { epsilon })
      : layerNorm(states, weight, bias ?? zeros([width], states.dtype), { epsilon });
  });
}

/** The MLP of a block, from what it reads. */
function feedForward(config: DecoderConfig, { linear }: BoundLayers, x: Tensor, name: string): Tensor {
  const { names, hiddenAct, intermediateSize: inner, factors } = config;
  const scaled = (y: Tensor, factor = 1) => (factor === 1 ? y : y.mul(factor));
  const mlp = (module: string) => `${name}.${module}`;
  if (names.gateUp) {
    const both = linear(x, mlp(names.gateUp));
    return linear(gated(both.slice(2, 0, inner), both.slice(2, inner), hiddenAct, mlp('mlp')), mlp(names.down));
  }
  const up = linear(x, mlp(names.up));
  const active = names.gate
    ? gated(scaled(linear(x, mlp(names.gate)), factors.mlp?.gate), up, hiddenAct, mlp('mlp'))
    : nameScope(mlp('mlp'), () => activations[hiddenAct](up));
  return scaled(linear(active, mlp(names.down)), factors.mlp?.output);
}

/** Attention over what a block has normalised, up to the output projection: [b, s, width] → [b, s, heads · headDim]. */
function attentionOf(config: DecoderConfig, layers: BoundLayers, input: ForwardInput, like: Tensor) {
  const { names, rotary: turning, queryKeyNorm, clip } = config;
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = config;
  const turn = turning && rotationsOf(config, turning, input.positions, like);
  if (config.latent) return latentAttention(config, config.latent, layers, input, turn!);

  return (x: Tensor, layer: number, block: string): Tensor => {
    const clipped = (y: Tensor) => (clip === undefined ? y : y.clamp(-clip, clip));
    const joined = names.queryKeyValue && clipped(layers.linear(x, `${block}.${names.queryKeyValue}`));
    const parts = joined ? splitJoined(config, joined) : undefined;
    const linear = (name: string) => layers.linear(x, `${block}.${name}`);
    const gated = config.gatesAttention ? splitGates(linear(names.query)) : undefined;
    const flat = (name: string) => (gated && name === names.query ? gated.queries : linear(name));
    const normed = (name: string, normName: string, count: number): Tensor => {
      if (!queryKeyNorm) return splitHeads(clipped(flat(name)), count);
      const { norm, over } = queryKeyNorm;
      const path = `${block}.${normName}`;
      if (over === 'all') return splitHeads(clipped(normalized(layers, flat(name), path, norm)), count);
      return clipped(normalized(layers, splitHeads(flat(name), count), path, norm));
    };
    const q = parts?.[0] ?? normed(names.query, names.queryNorm, heads);
    const plain = parts?.[1] ?? normed(names.key, names.keyNorm, kvHeads);
    const k = config.factors.attention ? plain.mul(config.factors.attention.keys) : plain;
    const v = parts?.[2] ?? splitHeads(clipped(flat(names.value)), kvHeads);
    return nameScope(`${block}.${names.output.split('.')[0]}`, () => {
      const isTurned = turn && turning.layers[layer];
      const [queries, keys] = isTurned ? [turn(q, layer), turn(k, layer)] : [q, k];
      const grown = turning?.growth ? queries.mul(growthOf(turning.growth, input.positions, queries)) : queries;
      const sinks = names.sinks && layers.parameter(`${block}.${names.sinks}`);
      const mixed = joinHeads(input.attend(layer, grown, keys, v, ...(sinks ? [sinks] : [])));
      return gated ? mixed.mul(gated.gates.sigmoid()) : mixed;
    });
  };

  /** Queries and gates [b, s, heads · headDim] of a projection that has them head by head. */
  function splitGates(both: Tensor) {
    const [b, s] = both.shape as [number, number];
    const apart = both.reshape([b, s, heads, 2 * headDim]);
    const part = (from: number) => apart.slice(3, from, from + headDim).reshape([b, s, heads * headDim]);
    return { queries: part(0), gates: part(headDim) };
  }

  /** Queries, keys and values [b, heads, s, d] of the output of their one projection. */
  function splitJoined({ joined }: DecoderConfig, qkv: Tensor): [Tensor, Tensor, Tensor] {
    const [b, s] = qkv.shape as [number, number];
    if (joined === 'parts') {
      const part = (from: number, count: number) =>
        splitHeads(qkv.slice(2, from * headDim, (from + count) * headDim), count);
      return [part(0, heads), part(heads, kvHeads), part(heads + kvHeads, kvHeads)];
    }
    const group = heads / kvHeads;
    const grouped = qkv.reshape([b, s, kvHeads, group + 2, headDim]);
    const part = (from: number, count: number) =>
      splitHeads(grouped.slice(3, from, from + count).reshape([b, s, kvHeads * count * headDim]), kvHeads * count);
    return [part(0, group), part(group, 1), part(group + 1, 1)];
  }
}

/** 1 + beta · ln(1 + ⌊m / length⌋) of each position, as x [b, heads, s, d] takes it. */
function growthOf({ beta, length }: NonNullable<RotaryConfig['growth']>, positions: Tensor, { dtype }: Tensor): Tensor {
  const [b, s] = positions.shape as [number, number];
  const steps = positions.cast('float32').div(length).floor().add(1);
  return steps.log().mul(beta).add(1).reshape([b, 1, s, 1]).cast(dtype);
}

/** Turns queries or keys [b, heads, s, d] of a layer. */
function rotationsOf(config: DecoderConfig, turning: RotaryConfig, positions: Tensor, like: Tensor) {
  const { width, pairs, rope, slidingRope } = turning;
  const full = rotaryAngles(positions, rotationOf(rope, width), like);
  const sliding = slidingRope === rope ? full : rotaryAngles(positions, rotationOf(slidingRope, width), like);

  return (x: Tensor, layer: number): Tensor => {
    const [cos, sin] = config.layerTypes[layer] === 'sliding_attention' ? sliding : full;
    const isWhole = width === x.shape[3];
    const first = isWhole ? x : x.slice(3, 0, width);
    const [b, heads, s] = x.shape as [number, number, number];
    const sorted = (y: Tensor, [rows, columns]: readonly [number, number]) =>
      y.reshape([b, heads, s, rows, columns]).transpose([0, 1, 2, 4, 3]).reshape([b, heads, s, width]);
    const turned =
      pairs === 'halves'
        ? rotary(first, cos, sin)
        : sorted(rotary(sorted(first, [width / 2, 2]), cos, sin), [2, width / 2]);
    return isWhole ? turned : concat([turned, x.slice(3, width)], 3);
  };
}
