import { type Tensor, uniform } from '@posttrain/core-tensor';
import type { LayerHooks } from '@posttrain/lm';
import { prefixSums, suffixSums } from './scans.js';
import type { TrainableNetwork } from './trainable-network.js';

/**
 * The hooks of a pass whose token embeddings [b, s, width] are what `change` makes of them: noise, or a perturbation
 * of which a loss takes the gradient. Hooks of an adapter see the tokens first.
 */
export function changeEmbeddings(
  { modules }: Pick<TrainableNetwork, 'modules'>,
  hooks: LayerHooks,
  change: (embeddings: Tensor) => Tensor,
): LayerHooks {
  // GPT-2 and BERT have several tables, the first of which is that of the tokens.
  const name = [...modules.values()].find(({ kind }) => kind === 'embedding')?.name;
  return {
    ...hooks,
    embedding(tokens, layer) {
      const embedded = hooks.embedding ? hooks.embedding(tokens, layer) : layer.apply(tokens);
      return layer.name === name ? change(embedded) : embedded;
    },
  };
}

/**
 * The noise of NEFTune (arXiv 2310.05914), [b, s, width]: uniform in ±α / √(L · width), L being the length of the
 * token's sequence; padding and other sequences of the row do not count.
 *
 * @param key int32 [2]
 * @param segments int32 [b, s]
 */
export function neftuneNoise(alpha: number, key: Tensor, segments: Tensor, width: number): Tensor {
  const one = segments.minimum(1).cast('float32');
  const lengths = prefixSums(one, segments).add(suffixSums(one, segments, { exclusive: true }));
  const magnitude = lengths.maximum(1).mul(width).rsqrt().mul(alpha).mul(one).expandDims(2);
  return uniform(key, [...segments.shape, width])
    .mul(2)
    .sub(1)
    .mul(magnitude);
}
