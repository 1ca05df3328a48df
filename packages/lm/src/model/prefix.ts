import {
  alibiSlopes,
  attention,
  attentionBias,
  concat,
  iota,
  selfAttention,
  type Tensor,
  zeros,
} from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import { type BoundLayers, bindLayers, type LayerAttention, type ModelFamily } from './family.js';
import type { KeyValuePrefix, LayerHooks, ModuleInfo, PassInfo, Weights } from './layers.js';
import { asPrefix, prefixRows, recentOfRows } from './recent-tokens.js';
import type { LayerState } from './recurrence/layer-state.js';

/** @throws PosttrainError for hooks that depend on another pass, where there is no cache for it */
export function refuseEarlierPass({ earlier }: LayerHooks): void {
  if (!earlier) return;
  throw new PosttrainError(
    'EARLIER_PASS',
    'the adapter needs a pass before each, whose keys and values this cache has no room for: ModelRunner has it, for ' +
      'an adapter that says earlierPass',
  );
}

/** What a network needs to say which keys and values stand before every sequence. */
interface PrefixNetwork {
  readonly config: ModelConfig;
  readonly family: ModelFamily;
  readonly modules: ReadonlyMap<string, ModuleInfo>;
  readonly attention: readonly LayerAttention[];
}

/** What a layer's attention is given: see `ForwardInput.attend`. */
export interface Attended {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly sinks?: Tensor;
}

/** What stands before the sequences of a pass. */
export interface Prefixes {
  /** By layer that has some; where there are kinds, those of all one after the other: [kv heads, kinds · v, head width]. */
  readonly layers: readonly KeyValuePrefix[];
  /** By layer that has a recurrence: its state [1, …] behind the prefix. */
  readonly states: readonly LayerState[];
  /** v: positions that they take before a sequence. */
  readonly count: number;
  /** See `VirtualTokenKinds.kindOf`. */
  readonly kindOf?: string;
}

/**
 * The keys and values, by layer, that hooks put before one sequence, which says `inputs` int32 [1] of itself; undefined where they
 * put none.
 *
 * @throws PosttrainError as `prefixesOf`, and for inputs that it lacks
 */
export function prefixOf(
  network: PrefixNetwork,
  weights: Weights,
  hooks: LayerHooks,
  inputs: PassInfo['inputs'] = {},
): Pick<Prefixes, 'layers' | 'states'> | undefined {
  const { virtualTokens } = hooks;
  if (!virtualTokens || !('kinds' in virtualTokens)) return prefixesOf(network, weights, hooks);
  const { kinds, kindOf } = virtualTokens;
  const own = kinds.gather(kindIn(inputs, kindOf)).squeeze(0);
  return prefixesOf(network, weights, { ...hooks, virtualTokens: own });
}

function kindIn(inputs: PassInfo['inputs'], kindOf: string): Tensor {
  const kind = inputs[kindOf];
  if (kind) return kind;
  throw new PosttrainError(
    'ADAPTER_INPUTS',
    `the virtual tokens depend on ${kindOf}, which the adapter reads of every sequence and this pass does not say`,
  );
}

/**
 * The keys and values, by layer, that hooks put before sequences; undefined where they put none. Virtual tokens see only
 * each other, so what they are in every layer depends on no row: one pass over them alone, a row for each kind, gives the keys
 * and values that all rows see.
 *
 * @throws PosttrainError for hooks with both, and for layers that differ in how many there are
 */
export function prefixesOf(network: PrefixNetwork, weights: Weights, hooks: LayerHooks): Prefixes | undefined {
  const { virtualTokens } = hooks;
  const { attention: how } = network;
  if (hooks.prefix) {
    if (virtualTokens) throw new PosttrainError('PREFIX', 'hooks have a prefix and virtual tokens; one of them');
    const { widths, states } = network.family.cacheShape(network.config);
    if (widths || states) {
      throw new PosttrainError(
        'PREFIX',
        'this model has layers that do not attend, and no prefix of keys and values for them',
      );
    }
    const prefix = how.map((_, layer) => hooks.prefix!(layer));
    const counts = new Set(prefix.flatMap(({ keys, values }) => [keys.shape[1], values.shape[1]]));
    if (counts.size > 1)
      throw new PosttrainError('PREFIX', `layers have prefixes of ${[...counts].join(' and ')} tokens`);
    return { layers: prefix, states: [], count: prefix[0]!.keys.shape[1]! };
  }
  if (!virtualTokens) return undefined;
  const { layers, states, count, kindOf } = virtualPass(network, weights, { ...hooks, virtualTokens });
  return { layers, states, count, ...(kindOf !== undefined && { kindOf }) };
}

/**
 * The pass over virtual tokens alone, which see only each other, a row for each kind. `hidden` [kinds, v, width] are their final,
 * normalised states: what the output layer predicts from.
 */
export function virtualPass(
  { config, family, modules, attention: how }: PrefixNetwork,
  weights: Weights,
  hooks: LayerHooks & Required<Pick<LayerHooks, 'virtualTokens'>>,
): Prefixes & { readonly hidden: Tensor } {
  const { virtualTokens } = hooks;
  const { kinds, kindOf } =
    'kinds' in virtualTokens ? virtualTokens : { kinds: virtualTokens.expandDims(0), kindOf: undefined };
  const [many, count] = kinds.shape as [number, number];
  if (kindOf !== undefined && family.cacheShape(config).states) {
    throw new PosttrainError(
      'PREFIX',
      `this model has recurrent layers, whose sequences begin with one state: virtual tokens of several kinds (${kindOf}) are not supported`,
    );
  }
  const tokens = zeros([many, count], 'int32');
  const positions = iota([many, count], 1);
  const layers = bindLayers(weights, modules, hooks, { positions, inputs: {} });
  const asTokens: BoundLayers = {
    ...layers,
    embedding(ids, module) {
      if (ids !== tokens) return layers.embedding(ids, module);
      return kinds.mul(family.virtualTokenFactor?.(config) ?? 1);
    },
  };
  const prefix: KeyValuePrefix[] = [];
  const states: LayerState[] = [];
  const together = (x: Tensor): Tensor => {
    const [, heads, , headDim] = x.shape as [number, number, number, number];
    return x.transpose([1, 0, 2, 3]).reshape([heads, many * count, headDim]);
  };
  const hidden = family.hidden(config, asTokens, {
    tokens,
    positions,
    block: (_, run, x) => run(x),
    recent(_layer, x, taps) {
      prefix.push(asPrefix(x, family.cacheShape(config).kvHeads));
      return recentOfRows(x, taps, positions);
    },
    recur(_layer, run) {
      const { output, state } = run({});
      states.push(state);
      return output;
    },
    attend(layer, q, k, v, sinks) {
      prefix.push({ keys: together(k), values: together(v) });
      return selfAttention(q, k, v, { ...how[layer]!, ...(sinks && { sinks }) });
    },
  });
  return { layers: prefix, states, count, hidden, ...(kindOf !== undefined && { kindOf }) };
}

/** `ForwardInput.recent` of whole rows with prefixes: see `attendBehind`. */
export function recentBehind(
  prefixes: Prefixes,
  { layer, x, taps }: { readonly layer: number; readonly x: Tensor; readonly taps: number },
  { positions, inputs }: PassInfo,
): Tensor[] {
  const kind = prefixes.kindOf === undefined ? positions.mul(0) : kindIn(inputs, prefixes.kindOf);
  return recentOfRows(x, taps, positions, prefixRows(prefixes, layer, kind));
}

/**
 * Self-attention of whole rows that see a prefix before their own sequence. The scores [b, h, s, kinds · v + s] are
 * materialised.
 *
 * @param positions int32 [b, s], those of the prefix counted: what a sliding window goes by
 * @param inputs int32 [b, s] each: says of which kind the prefix of a token's sequence is
 */
export function attendBehind(
  { layers, count, kindOf }: Prefixes,
  { layer, q, k, v, sinks }: { readonly layer: number } & Attended,
  { slidingWindow, alibi, ...how }: LayerAttention,
  { segments, positions, inputs }: { readonly segments: Tensor } & PassInfo,
): Tensor {
  const { keys, values } = layers[layer]!;
  const [b, s] = segments.shape as [number, number];
  const all = keys.shape[1]!;
  const own = attentionBias(segments, slidingWindow === undefined ? {} : { slidingWindow });
  const places = iota([1, 1, 1, all], 3);
  const ofTokens = (x: Tensor) => x.reshape([b, 1, s, 1]);
  const unseen: Tensor[] = [];
  if (slidingWindow !== undefined) {
    unseen.push(ofTokens(positions).sub(places.mod(count)).greaterEqual(slidingWindow));
  }
  if (kindOf !== undefined) {
    const from = ofTokens(kindIn(inputs, kindOf)).mul(count);
    unseen.push(places.less(from), places.greaterEqual(from.add(count)));
  }
  const isUnseen = unseen.length > 0 && unseen.reduce((one, other) => one.or(other));
  // As attentionBias has it for what is not seen.
  const before = isUnseen ? isUnseen.cast('float32').mul(-1e30) : zeros([b, 1, s, all]);
  const bias = concat([before, own], 3);
  const behind = (prefix: Tensor, x: Tensor) => {
    const [heads, , width] = prefix.shape as [number, number, number];
    const rows = prefix.cast(x.dtype).reshape([1, heads, all, width]).broadcastTo([b, heads, all, width]);
    return concat([rows, x], 2);
  };
  const placed = alibi
    ? bias.add(distances(positions, all, count).mul(alibiSlopes(q.shape[1]!).reshape([1, q.shape[1]!, 1, 1])))
    : bias;
  const masked = q.dtype === 'float16' ? placed.maximum(-3e4).cast('float16') : placed;
  return attention(q, behind(keys, k), behind(values, v), masked, { ...how, ...(sinks && { sinks }) });
}

/** How far what a token sees is before it, [b, 1, s, all + s] in float32 and negative: a prefix of `count` places, then the row itself. */
function distances(positions: Tensor, all: number, count: number): Tensor {
  const [b, s] = positions.shape as [number, number];
  const at = concat([iota([b, all], 1).mod(count), positions], 1);
  return at
    .reshape([b, 1, 1, all + s])
    .sub(positions.reshape([b, 1, s, 1]))
    .cast('float32');
}
