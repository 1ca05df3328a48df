import { concat, defineOp, iota, nameScope, ones, softmax, type Tensor, zeros } from '@posttrain/core-tensor';
import type { ExpertsConfig, RotaryModelConfig } from '../config/index.js';
import { gated, type Projection } from './decoder-layers.js';
import type { BoundLayers } from './family.js';
import type { LayerHooks } from './layers.js';

/** The experts of a layer; undefined where it has one MLP. */
export const expertsOf = ({ experts }: RotaryModelConfig, layer: number): ExpertsConfig | undefined =>
  experts?.sparseLayers[layer] ? experts : undefined;

/** Module paths of a layer's router and of its experts' gate, up and down projections, as checkpoints name them. */
function moduleNames({ modelType }: RotaryModelConfig, { count }: ExpertsConfig, block: string) {
  const isMixtral = modelType === 'mixtral';
  const name = `${block}.${isMixtral ? 'block_sparse_moe' : 'mlp'}`;
  const each = (projection: string) =>
    Array.from({ length: count }, (_, expert) => `${name}.experts.${expert}.${projection}`);
  const [gate, up, down] = isMixtral ? ['w1', 'w3', 'w2'] : ['gate_proj', 'up_proj', 'down_proj'];
  return { name, router: `${name}.gate`, gate: each(gate!), up: each(up!), down: each(down!) };
}

/** The router and the linear layers of every expert. */
export function expertsProjections(config: RotaryModelConfig, experts: ExpertsConfig, layer: number): Projection[] {
  const names = moduleNames(config, experts, `model.layers.${layer}`);
  const [width, inner] = [config.hiddenSize, experts.intermediateSize];
  const inward = [...names.gate, ...names.up].map((name) => ({ name, in: width, out: inner }));
  const outward = names.down.map((name) => ({ name, in: inner, out: width }));
  return [{ name: names.router, in: width, out: experts.count, kind: 'router' }, ...inward, ...outward];
}

/**
 * A sparse mixture of gated MLPs (arXiv 1701.06538, as in Mixtral, arXiv 2401.04088, and Qwen3-MoE, arXiv 2505.09388):
 * with p = softmax(router(x)) and T the `perToken` largest of p,
 *
 *     y = Σ_{e ∈ T} w_e · down_e(act(gate_e(x)) · up_e(x)),   w_e = p_e, or p_e / Σ_{T} p where weights are normalised
 *
 * for x [b, s, width]. Every pair of token and expert is a row; rows are put in the order of their experts, so that each
 * expert computes its own rows and no others, and nothing is dropped however uneven the load is. Equal probabilities go
 * to the expert with the lower index.
 */
export function mixtureOfExperts(
  config: RotaryModelConfig,
  experts: ExpertsConfig,
  layers: BoundLayers,
  x: Tensor,
  block: string,
): Tensor {
  const names = moduleNames(config, experts, block);
  const { perToken, count } = experts;
  const width = x.shape.at(-1)!;
  const tokens = x.size / width;
  return nameScope(names.name, () => {
    const probabilities = softmax(layers.linear(x, names.router).cast('float32')).reshape([tokens, count]);
    const { values, indices } = probabilities.topK(perToken);
    const mixing = experts.normalizeWeights ? values.div(values.sum(1, { keepDims: true })) : values;
    const { counts, sources, places } = sortByExpert(indices, count);
    const tokenOfRow = iota([tokens, perToken], 0)
      .reshape([tokens * perToken])
      .gather(sources);

    const rows = takeRows(x.reshape([tokens, width]), tokenOfRow, places);
    const pairs = tokens * perToken;
    const batchRows = iota([x.shape[0]!, pairs / x.shape[0]!], 0)
      .reshape([pairs])
      .gather(sources);
    const each = (input: Tensor, modules: readonly string[]) => layers.groupedLinear(input, counts, batchRows, modules);
    const [gate, up] = [each(rows, names.gate), each(rows, names.up)];
    const out = each(gated(gate, up, config.hiddenAct, names.name), names.down);
    const rowWeights = takeRows(mixing.cast(x.dtype).reshape([pairs, 1]), sources, places.reshape([pairs, 1]));
    return sumRows(out.mul(rowWeights), places, tokenOfRow).reshape(x.shape);
  });
}

interface ExpertOrder {
  /** int32 [experts]: rows of each. */
  readonly counts: Tensor;
  /** int32 [tokens · perToken]: which pair of token and choice each row is. */
  readonly sources: Tensor;
  /** int32 [tokens, perToken]: the row of each pair. */
  readonly places: Tensor;
}

/** A counting sort of the chosen experts int32 [tokens, perToken]; pairs of one expert keep their order. */
function sortByExpert(chosen: Tensor, count: number): ExpertOrder {
  const pairs = chosen.size;
  const isIn = chosen
    .reshape([pairs, 1])
    .equal(iota([1, count], 1))
    .cast('int32');
  const counts = isIn.sum(0);
  const before = isIn
    .cumsum(0)
    .sub(1)
    .add(counts.cumsum(0).sub(counts).reshape([1, count]));
  const places = isIn.mul(before).sum(1);
  const sources = zeros([pairs], 'int32').putAlongAxis(places, iota([pairs], 0), 0);
  return { counts, sources, places: places.reshape(chosen.shape) };
}

/**
 * x [n, d] → rows x[from[i]], [m, d]. `to` int32 [n, k] says where each row of x went, so that the gradient is
 * gathered, too.
 */
const takeRowsOp = defineOp({
  name: 'posttrain/take-rows',
  infer: ([x, from]) => [{ shape: [from!.shape[0]!, x!.shape[1]!], dtype: x!.dtype }],
  decompose: ([x, from]) => [x!.gather(from!)],
  vjp: ({ inputs: [, from, to], cotangents: [dy] }) => [sumRows(dy!, to!, from!)],
});

/** y [m, d] → Σ_k y[to[i, k]], [n, d]: the transpose of `takeRowsOp`, whose `from` is the inverse of `to`. */
const sumRowsOp = defineOp({
  name: 'posttrain/sum-rows',
  infer: ([y, to]) => [{ shape: [to!.shape[0]!, y!.shape[1]!], dtype: y!.dtype }],
  decompose: ([y, to]) => [y!.gather(to!).sum(1)],
  vjp: ({ inputs: [, to, from], cotangents: [dx] }) => [takeRows(dx!, from!, to!)],
});

const takeRows = (x: Tensor, from: Tensor, to: Tensor): Tensor => takeRowsOp([x, from, to])[0]!;
const sumRows = (y: Tensor, to: Tensor, from: Tensor): Tensor => sumRowsOp([y, to, from])[0]!;

/** Router statistics: assignments to experts, summed over tokens and layers. */
export interface RouterSums {
  /** float32 [experts]: how often each was chosen. */
  readonly choices: Tensor;
  /** float32 [experts]: probabilities of each. */
  readonly probabilities: Tensor;
  /** Scalar: tokens, once per layer. */
  readonly tokens: Tensor;
}

/** Options of `routerSums`. */
export interface RouterSumsOptions {
  readonly perToken: number;
  /** int32, bool or float32, of the tokens' shape: 0 where a token does not count (padding). Default: all count. */
  readonly mask?: Tensor;
}

/**
 * What the load-balancing loss is computed from, summed over all layers.
 *
 * @param routerLogits [tokens, experts] or [b, s, experts] for each layer: see `recordRouterLogits`
 */
export function routerSums(routerLogits: readonly Tensor[], { perToken, mask }: RouterSumsOptions): RouterSums {
  const count = routerLogits[0]!.shape.at(-1)!;
  const logits = concat(
    routerLogits.map((layer) => layer.reshape([layer.size / count, count])),
    0,
  );
  const tokens = logits.shape[0]!;
  const perLayer = [tokens / routerLogits.length, 1];
  const once = mask?.cast('float32').reshape(perLayer) ?? ones(perLayer);
  const counted = concat(
    Array.from(routerLogits, () => once),
    0,
  );
  const probabilities = softmax(logits.cast('float32'));
  const { indices } = probabilities.topK(perToken);
  const chosen = indices
    .reshape([tokens, perToken, 1])
    .equal(iota([1, 1, count], 2))
    .cast('float32')
    .sum(1);
  const total = (x: Tensor) => x.mul(counted).sum(0);
  return { choices: total(chosen), probabilities: total(probabilities), tokens: counted.sum() };
}

/**
 * The load-balancing loss of Switch Transformers (arXiv 2101.03961, equations 4 to 6), over all layers at once as
 * transformers' `load_balancing_loss_func`: E · Σ_e f_e P_e, with f_e the choices that fell on expert e divided by the
 * tokens, and P_e its mean probability. Even loads give `perToken`. Gradients go through P only.
 *
 * @param routerLogits [tokens, experts] or [b, s, experts] for each layer: see `recordRouterLogits`
 */
export function loadBalancingLoss(routerLogits: readonly Tensor[], options: RouterSumsOptions): Tensor {
  const sums = routerSums(routerLogits, options);
  return loadBalancingLossOf(sums, sums);
}

/**
 * The part of it that some of the tokens have: `probabilities` are theirs, `choices` and `tokens` those of all. The parts
 * add up to the whole.
 */
export function loadBalancingLossOf(
  { probabilities }: Pick<RouterSums, 'probabilities'>,
  { choices, tokens }: Pick<RouterSums, 'choices' | 'tokens'>,
): Tensor {
  return choices.div(tokens).mul(probabilities.div(tokens)).sum().mul(probabilities.size);
}

/**
 * The same hooks, and the logits [b, s, experts] of every router that they are run over, in order of the layers: for
 * `loadBalancingLoss` of a pass that is being traced. Without gradient checkpointing, which computes layers apart.
 */
export function recordRouterLogits(hooks: LayerHooks = {}): { readonly hooks: LayerHooks; readonly logits: Tensor[] } {
  const logits: Tensor[] = [];
  const linear: LayerHooks['linear'] = (x, layer) => {
    const y = hooks.linear ? hooks.linear(x, layer) : layer.apply(x);
    if (layer.kind === 'router') logits.push(y);
    return y;
  };
  return { hooks: { ...hooks, linear }, logits };
}
