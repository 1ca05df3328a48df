import { concat, defineOp, iota, nameScope, ones, softmax, type Tensor, where, zeros } from '@posttrain/core-tensor';
import type { ExpertNames, ExpertsConfig, GroupedRouting, HiddenActivation } from '../config/index.js';
import { gated, gatedMlp, type Projection } from './decoder-layers.js';
import type { BoundLayers } from './family.js';
import type { LayerHooks } from './layers.js';

/** What a mixture is computed from, of a config of any family. */
export interface Mixture {
  readonly experts: ExpertsConfig;
  readonly names: ExpertNames;
  readonly hiddenSize: number;
  readonly hiddenAct: HiddenActivation;
}

/** Module paths of a layer's router and of its experts' gate, up and down projections, as checkpoints name them. */
function moduleNames({ experts: { count }, names }: Mixture, block: string) {
  const name = `${block}.${names.module}`;
  const each = (projection: string) =>
    Array.from({ length: count }, (_, expert) => `${name}.experts.${expert}.${projection}`);
  const own = { router: `${name}.${names.router}`, shared: `${name}.${names.shared}` };
  const sharedGate = names.sharedGate && `${name}.${names.sharedGate}`;
  return { name, ...own, sharedGate, gate: each(names.gate), up: each(names.up), down: each(names.down) };
}

/** The router and the linear layers of every expert, and of the shared one. `block` is the module path of the block. */
export function expertsProjections(mixture: Mixture, block: string): Projection[] {
  const names = moduleNames(mixture, block);
  const { hiddenSize: width, experts } = mixture;
  const bias = experts.biases ?? false;
  const gated = (inner: number, [gate, up, down]: readonly (readonly string[])[]): Projection[] => [
    ...[...gate!, ...up!].map((name) => ({ name, in: width, out: inner, bias })),
    ...down!.map((name) => ({ name, in: inner, out: width, bias })),
  ];
  const ofShared = ['gate_proj', 'up_proj', 'down_proj'].map((name) => [`${names.shared}.${name}`]);
  return [
    { name: names.router, in: width, out: experts.count, bias, kind: 'router' },
    ...gated(experts.intermediateSize, [names.gate, names.up, names.down]),
    ...(experts.sharedSize === undefined ? [] : gated(experts.sharedSize, ofShared)),
    ...(names.sharedGate ? [{ name: names.sharedGate, in: width, out: 1 }] : []),
  ];
}

/**
 * A sparse mixture of gated MLPs (arXiv 1701.06538, as in Mixtral, arXiv 2401.04088, and Qwen3-MoE, arXiv 2505.09388):
 * with p = softmax(router(x)) and T the `perToken` largest of p,
 *
 *     y = Σ_{e ∈ T} w_e · down_e(act(gate_e(x)) · up_e(x)),   w_e = p_e, or p_e / Σ_{T} p where weights are normalised
 *
 * for x [b, s, width]; `Routing` has other ways to choose T and w. Every pair of token and expert is a row; rows are put in the
 * order of their experts, so that each expert computes its own rows and no others, and nothing is dropped however uneven the load
 * is. Equal probabilities go to the expert with the lower index. A shared expert's output is added, times the sigmoid of its gate
 * where it has one (arXiv 2401.06066).
 */
export function mixtureOfExperts(mixture: Mixture, layers: BoundLayers, x: Tensor, block: string): Tensor {
  const names = moduleNames(mixture, block);
  const { experts, hiddenAct } = mixture;
  const { perToken, count } = experts;
  const width = x.shape.at(-1)!;
  const tokens = x.size / width;
  return nameScope(names.name, () => {
    const logits = layers.linear(x, names.router).cast('float32').reshape([tokens, count]);
    const bias = mixture.names.bias && layers.parameter(`${names.name}.${mixture.names.bias}`);
    const { weights, indices } = routed(experts, logits, bias || undefined);
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
    const active = experts.clamped ? clampedSwiglu(gate, up, experts.clamped) : gated(gate, up, hiddenAct, names.name);
    const out = each(active, names.down);
    const rowWeights = takeRows(weights.cast(x.dtype).reshape([pairs, 1]), sources, places.reshape([pairs, 1]));
    const mixed = sumRows(out.mul(rowWeights), places, tokenOfRow).reshape(x.shape);
    if (experts.sharedSize === undefined) return mixed;
    const shared = gatedMlp(layers, x, names.shared, hiddenAct);
    return mixed.add(names.sharedGate ? shared.mul(layers.linear(x, names.sharedGate).sigmoid()) : shared);
  });
}

/**
 * g · sigmoid(alpha · g) · (u + 1) with g = min(gate, limit) and u = up within ± limit: the experts of gpt-oss (arXiv 2508.10925).
 * A gradient ends at what is cut off.
 */
function clampedSwiglu(gate: Tensor, up: Tensor, { alpha, limit }: NonNullable<ExpertsConfig['clamped']>): Tensor {
  const g = gate.minimum(limit);
  return g.mul(g.mul(alpha).sigmoid()).mul(up.clamp(-limit, limit).add(1));
}

/** The experts of each token, int32 [tokens, perToken], and their weights: of the router's logits [tokens, experts]. */
function routed(experts: ExpertsConfig, logits: Tensor, bias: Tensor | undefined) {
  const { perToken, normalizeWeights, routing } = experts;
  if (routing?.type === 'sparsemixer') return sparseMixer(logits, routing.noise);
  if (routing?.type === 'grouped') return grouped(experts, routing, logits, bias);
  const { values, indices } = softmax(logits).topK(perToken);
  return { weights: normalizeWeights ? values.div(values.sum(1, { keepDims: true })) : values, indices };
}

/** What a logit becomes that does not count: far below any. */
const AWAY = -1e30;

/** See `GroupedRouting`. */
function grouped(
  { perToken, normalizeWeights, count }: ExpertsConfig,
  { scores: kind, groups, chosen, best, factor }: GroupedRouting,
  logits: Tensor,
  bias: Tensor | undefined,
) {
  const tokens = logits.shape[0]!;
  const scores = kind === 'softmax' ? softmax(logits) : logits.sigmoid();
  const by = bias ? scores.add(bias) : scores;
  const inGroups = by.reshape([tokens, groups, count / groups]);
  const taken = inGroups.topK(best).values.sum(2).topK(chosen).indices.reshape([tokens, chosen, 1]);
  const isTaken = taken
    .equal(iota([1, 1, groups], 2))
    .cast('int32')
    .sum(1)
    .greater(0)
    .reshape([tokens, groups, 1]);
  const left = chosen === groups ? by : where(isTaken, inGroups, AWAY).reshape([tokens, count]);
  const { indices } = left.topK(perToken);
  const own = scores.takeAlongAxis(indices, 1);
  const weights = normalizeWeights ? own.div(own.sum(1, { keepDims: true }).add(1e-20)) : own;
  return { weights: weights.mul(factor), indices };
}

/**
 * SparseMixer-v2 as in evaluation (arXiv 2409.12136): the two largest logits, each with its softmax among those that are no
 * further from it than (best − z) / max(|z|, best) ≤ 2 · noise; the first is left out of the softmax of the second.
 */
function sparseMixer(logits: Tensor, noise: number) {
  const { values, indices } = logits.topK(2);
  const weightOf = (rank: number, left: Tensor): Tensor => {
    const best = values.slice(1, rank, rank + 1);
    const isFar = best
      .sub(logits)
      .div(logits.abs().maximum(best))
      .greater(2 * noise);
    return softmax(where(isFar, AWAY, left)).takeAlongAxis(indices.slice(1, rank, rank + 1), 1);
  };
  const isFirst = indices.slice(1, 0, 1).equal(iota([1, logits.shape[1]!], 1));
  return { weights: concat([weightOf(0, logits), weightOf(1, where(isFirst, AWAY, logits))], 1), indices };
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
