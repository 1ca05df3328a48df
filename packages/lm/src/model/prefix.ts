import { attention, attentionBias, concat, iota, selfAttention, type Tensor, zeros } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import { type BoundLayers, bindLayers, type LayerAttention, type ModelFamily } from './family.js';
import type { KeyValuePrefix, LayerHooks, ModuleInfo, Weights } from './layers.js';

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

/**
 * The keys and values, by layer, that hooks put before every sequence; undefined where they put none. Virtual tokens see only
 * each other, so what they are in every layer depends on no row: one pass over them alone gives the keys and values that all
 * rows see.
 *
 * @throws PosttrainError for hooks with both, and for layers that differ in how many there are
 */
export function prefixOf(
  { config, family, modules, attention: how }: PrefixNetwork,
  weights: Weights,
  hooks: LayerHooks,
): readonly KeyValuePrefix[] | undefined {
  const { virtualTokens } = hooks;
  if (hooks.prefix) {
    if (virtualTokens) throw new PosttrainError('PREFIX', 'hooks have a prefix and virtual tokens; one of them');
    const prefix = how.map((_, layer) => hooks.prefix!(layer));
    const counts = new Set(prefix.flatMap(({ keys, values }) => [keys.shape[1], values.shape[1]]));
    if (counts.size > 1)
      throw new PosttrainError('PREFIX', `layers have prefixes of ${[...counts].join(' and ')} tokens`);
    return prefix;
  }
  if (!virtualTokens) return undefined;
  const [count, width] = virtualTokens.shape as [number, number];
  const tokens = zeros([1, count], 'int32');
  const positions = iota([1, count], 1);
  const layers = bindLayers(weights, modules, hooks, { positions, inputs: {} });
  const asTokens: BoundLayers = {
    ...layers,
    embedding(ids, module) {
      if (ids !== tokens) return layers.embedding(ids, module);
      const factor = family.virtualTokenFactor?.(config) ?? 1;
      return virtualTokens.mul(factor).reshape([1, count, width]);
    },
  };
  const prefix: KeyValuePrefix[] = [];
  family.hidden(config, asTokens, {
    tokens,
    positions,
    block: (_, run, x) => run(x),
    attend(layer, q, k, v) {
      prefix.push({ keys: k.squeeze(0), values: v.squeeze(0) });
      return selfAttention(q, k, v, how[layer]!);
    },
  });
  return prefix;
}

/**
 * Self-attention of whole rows that see a prefix before their own sequence. The scores [b, h, s, v + s] are materialised.
 *
 * @param positions int32 [b, s], those of the prefix counted: what a sliding window goes by
 */
export function attendBehind(
  { keys, values }: KeyValuePrefix,
  { q, k, v }: { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor },
  { slidingWindow, ...how }: LayerAttention,
  { segments, positions }: { readonly segments: Tensor; readonly positions: Tensor },
): Tensor {
  const [b, s] = segments.shape as [number, number];
  const count = keys.shape[1]!;
  const own = attentionBias(segments, slidingWindow === undefined ? {} : { slidingWindow });
  const isFar =
    slidingWindow === undefined
      ? undefined
      : positions
          .reshape([b, 1, s, 1])
          .sub(iota([1, 1, 1, count], 3))
          .greaterEqual(slidingWindow);
  // As attentionBias has it for what is not seen.
  const before = isFar ? isFar.cast('float32').mul(-1e30) : zeros([b, 1, s, count]);
  const bias = concat([before, own], 3);
  const behind = (prefix: Tensor, x: Tensor) => {
    const [heads, , width] = prefix.shape as [number, number, number];
    const rows = prefix.cast(x.dtype).reshape([1, heads, count, width]).broadcastTo([b, heads, count, width]);
    return concat([rows, x], 2);
  };
  const masked = q.dtype === 'float16' ? bias.maximum(-3e4).cast('float16') : bias;
  return attention(q, behind(keys, k), behind(values, v), masked, how);
}
