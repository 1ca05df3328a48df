import { concat, iota, type Key, nameScope, type Tensor, where } from '@posttrain/core-tensor';
import type { ModelConfig } from '../config/index.js';
import { groupedMatmul, groupMasks } from './grouped-matmul.js';
import {
  applyLinear,
  type LayerHooks,
  type ModuleInfo,
  type NormInfo,
  type NormTensors,
  type PassInfo,
  type Sublayer,
  type Weights,
} from './layers.js';
import { floatWeight, isQuantized, quantizedLayer } from './quantized-layer.js';
import type { Recurred, RecurrentPast, StateShape } from './recurrence/layer-state.js';

/** What a forward pass needs beside the weights. */
export interface ForwardInput {
  /** int32 [b, s]. */
  readonly tokens: Tensor;
  /** int32 [b, s]: the position of each token in its own sequence. */
  readonly positions: Tensor;
  /**
   * Attention of layer `layer`: q [b, h, s, d], k and v [b, kv, s, d], rotated already → [b, h, s, d]. `sinks` [h]: see
   * `AttentionOptions`. Whether it reads a cache or the tokens of this pass only is the caller's choice.
   */
  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, sinks?: Tensor): Tensor;
  /**
   * Of x [b, s, width] of layer `layer`, which does not attend, at each distance below `taps` the rows [b, s, width] of the tokens so far before
   * each; zeros where a sequence has not begun.
   */
  recent(layer: number, x: Tensor, taps: number): Tensor[];
  /** The recurrence of layer `layer` over the tokens of this pass: `run` gives what it computes behind what was there before. */
  recur(layer: number, run: (past: RecurrentPast) => Recurred): Tensor;
  /** Runs a transformer block, `name` being its module path. The caller decides on gradient checkpointing. */
  block(name: string, run: (x: Tensor) => Tensor, x: Tensor): Tensor;
}

/** A parameter of a model: its name and shape. */
export interface ParameterInfo {
  readonly name: string;
  readonly shape: readonly number[];
  /** How a new model starts it; a function gives its numbers in order. */
  readonly init: 'normal' | 'zeros' | 'ones' | ((key: Key) => Float32Array);
  /** Times `initializerRange`, the standard deviation of one that is normal. Default 1. */
  readonly initScale?: number;
  /** A row that a new model has zero: the embedding of the padding token. */
  readonly zeroRow?: number;
}

/** How a layer attends. */
export interface LayerAttention {
  /** Multiplies the scores; usually 1 / √headDim. */
  readonly scale: number;
  /** A query at position i sees keys j with i - slidingWindow < j ≤ i. Left out: all keys before it. */
  readonly slidingWindow?: number;
  /** Scores become softCap · tanh(score / softCap) (arXiv 2408.00118). Left out: they stay as they are. */
  readonly softCap?: number;
  /** Scores fall with the distance (ALiBi, arXiv 2108.12409). Left out: they do not. */
  readonly alibi?: boolean;
}

/** The shape of the cache: width of one attention head, number of key/value heads, states of recurrences. */
export interface CacheShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** The width by layer, where layers differ: those that call `recent` have half of what they give by head. Left out: `headDim`. */
  readonly widths?: readonly number[];
  /** By layer, whether it has keys and values: whether it calls `attend` or `recent`. Left out: all do. */
  readonly hasKeys?: readonly boolean[];
  /** By layer the state of the recurrence of those that call `recur`. Left out: none does. */
  readonly states?: readonly (StateShape | undefined)[];
}

/** A family of architectures: one file each. A pure function of weights and tokens, and a list of its parts. */
export interface ModelFamily<Config extends ModelConfig = ModelConfig> {
  parameters(config: Config): ParameterInfo[];
  modules(config: Config): ModuleInfo[];
  cacheShape(config: Config): CacheShape;
  attention(config: Config, layer: number): LayerAttention;
  /** Logits become cap · tanh(logits / cap). Left out, or undefined: they stay as they are. */
  logitSoftCap?(config: Config): number | undefined;
  /** What logits are multiplied by, before they are capped. Left out: 1. */
  logitFactor?(config: Config): number;
  /**
   * What virtual tokens are multiplied by, where `hidden` scales what it looks up but transformers does not scale embeddings
   * that it is given. Left out: 1.
   */
  virtualTokenFactor?(config: Config): number;
  /** The final, normalised hidden states [b, s, width]. */
  hidden(config: Config, layers: BoundLayers, input: ForwardInput): Tensor;
}

/** The model's layers with weights and hooks bound: what a family's `hidden` is written in. */
export interface BoundLayers {
  linear(x: Tensor, module: string): Tensor;
  /** A parameter that belongs to no module, by its name. */
  parameter(name: string): Tensor;
  /**
   * One linear layer for each group of rows, with a bias or all without: x [n, in], of which the first counts[0] rows belong to
   * modules[0], and so on. `rows` int32 [n] says which row of the batch each of them is of. A hook sees all of x, but what it gives counts for the rows of its module only; it costs
   * nothing where it gives what `apply` gave.
   */
  groupedLinear(x: Tensor, counts: Tensor, rows: Tensor, modules: readonly string[]): Tensor;
  embedding(tokens: Tensor, module: string): Tensor;
  /** The normalisation `name`, which `compute` is the formula of. */
  norm(x: Tensor, name: string, compute: (x: Tensor, tensors: NormTensors) => Tensor): Tensor;
  /** The residual stream with the output of a sublayer added to it, which has read `input`. Default: what it is added to. */
  residual(x: Tensor, output: Tensor, layer: number, part: Sublayer['part'], input?: Tensor): Tensor;
}

export function bindLayers(
  weights: Weights,
  modules: ReadonlyMap<string, ModuleInfo>,
  hooks: LayerHooks,
  pass: PassInfo,
): BoundLayers {
  const weight = (name: string): Tensor => weights[name]!;
  return {
    parameter: weight,
    linear(x, name) {
      const info = modules.get(name)!;
      const bias = weights[`${name}.bias`];
      if (isQuantized(info)) {
        const layer = quantizedLayer(info, weights, bias);
        return hooks.linear ? hooks.linear(x, { ...layer, pass }) : layer.apply(x);
      }
      const matrix = weight(`${name}.weight`);
      const apply = (input: Tensor) => applyLinear(input, matrix, bias, info.transposed);
      return nameScope(name, () =>
        hooks.linear ? hooks.linear(x, { ...info, weight: matrix, bias, pass, apply }) : apply(x),
      );
    },
    groupedLinear(x, counts, rows, names) {
      const infos = names.map((name) => modules.get(name)!);
      const matrices = infos.map((info) => floatWeight(info, weights).cast(x.dtype));
      const biases = names.map((name) => weights[`${name}.bias`]);
      const products = groupedMatmul(x, counts, matrices, { transposeB: true });
      const shared = biases[0] ? products.add(biasOfRows(x.shape[0]!, counts, biases as Tensor[])) : products;
      const { linear } = hooks;
      if (!linear) return shared;
      const changed = infos.map((info, i) => {
        const [weight, bias] = [matrices[i]!, biases[i]];
        const apply = (input: Tensor) => (input === x ? shared : applyLinear(input, weight, bias, false));
        return nameScope(info.name, () => linear(x, { ...info, weight, bias, rows, pass, apply }));
      });
      if (changed.every((y) => y === shared)) return shared;
      const masks = groupMasks(x.shape[0]!, counts);
      return changed.reduce((all, y, i) => (y === shared ? all : where(masks[i]!, y, all)), shared);
    },
    norm(x, name, compute) {
      const own: NormTensors = { weight: weight(`${name}.weight`), bias: weights[`${name}.bias`] };
      const { norm } = hooks;
      if (!norm) return nameScope(name, () => compute(x, own));
      const apply = (input: Tensor, tensors = own) => compute(input, tensors);
      const info = { name, width: own.weight.size, hasBias: own.bias !== undefined };
      return nameScope(name, () => norm(x, { ...info, ...own, pass, apply }));
    },
    residual(x, output, layer, part, input = x) {
      return x.add(hooks.sublayer ? hooks.sublayer(output, { layer, part, input, pass }) : output);
    },
    embedding(tokens, name) {
      const matrix = weight(`${name}.weight`);
      const apply = (ids: Tensor) => matrix.gather(ids);
      return nameScope(name, () =>
        hooks.embedding
          ? hooks.embedding(tokens, { ...modules.get(name)!, weight: matrix, pass, apply })
          : apply(tokens),
      );
    },
  };
}

/** The bias [out] of the group that each row belongs to: [rows, out]. */
function biasOfRows(rows: number, counts: Tensor, biases: readonly Tensor[]): Tensor {
  const ends = counts.cumsum(0).reshape([1, biases.length]);
  const group = iota([rows, 1], 0).greaterEqual(ends).cast('int32').sum(1);
  return concat(
    biases.map((bias) => bias.expandDims(0)),
    0,
  ).gather(group);
}

/** The normalisations among a model's parameters: weights with one axis that belong to no module. */
export function normsOf(
  parameters: readonly ParameterInfo[],
  modules: ReadonlyMap<string, ModuleInfo>,
): ReadonlyMap<string, NormInfo> {
  const names = new Set(parameters.map(({ name }) => name));
  return new Map(
    parameters.flatMap(({ name: parameter, shape }): [string, NormInfo][] => {
      const name = parameter.replace(/\.weight$/, '');
      if (name === parameter || shape.length !== 1 || modules.has(name)) return [];
      return [[name, { name, width: shape[0]!, hasBias: names.has(`${name}.bias`) }]];
    }),
  );
}

export const layerIndices = (config: ModelConfig): number[] =>
  Array.from({ length: config.numHiddenLayers }, (_, i) => i);

/** The linear layers of a block as modules. `in` and `out` are their numbers of features. */
export function linearModules(
  projections: readonly {
    readonly name: string;
    readonly in: number;
    readonly out: number;
    readonly kind?: 'linear' | 'router';
  }[],
  layer: number,
  { transposed }: Pick<ModuleInfo, 'transposed'>,
): ModuleInfo[] {
  return projections.map(({ name, in: inFeatures, out: outFeatures, kind = 'linear' }): ModuleInfo => {
    return { name, kind, inFeatures, outFeatures, layer, transposed };
  });
}

/** [b, s, heads · d] → [b, heads, s, d]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [b, s, width] = x.shape as [number, number, number];
  return x.reshape([b, s, heads, width / heads]).transpose([0, 2, 1, 3]);
}

/** [b, heads, s, d] → [b, s, heads · d]. */
export function joinHeads(x: Tensor): Tensor {
  const [b, heads, s, d] = x.shape as [number, number, number, number];
  return x.transpose([0, 2, 1, 3]).reshape([b, s, heads * d]);
}
