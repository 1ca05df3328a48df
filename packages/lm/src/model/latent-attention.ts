import { concat, nameScope, type Tensor, zeros } from '@posttrain/core-tensor';
import type { DecoderConfig, LatentAttention } from '../config/index.js';
import { type Projection, rmsNormOf } from './decoder-layers.js';
import { type BoundLayers, type ForwardInput, joinHeads, type ParameterInfo, splitHeads } from './family.js';

const BLOCK = 'self_attn';

/** The linear layers of multi-head latent attention, in the block `block`. */
export function latentProjections(config: DecoderConfig, latent: LatentAttention, block: string): Projection[] {
  const { hiddenSize: width, numAttentionHeads: heads } = config;
  const { queryRank, keyValueRank, still, turned, value, bias } = latent;
  const query = heads * (still + turned);
  const of = (name: string, inputs: number, out: number, bias = false): Projection => ({
    ...{ name: `${block}.${BLOCK}.${name}`, in: inputs, out, bias },
  });
  return [
    ...(queryRank === undefined
      ? [of('q_proj', width, query)]
      : [of('q_a_proj', width, queryRank, bias), of('q_b_proj', queryRank, query)]),
    of('kv_a_proj_with_mqa', width, keyValueRank + turned, bias),
    of('kv_b_proj', keyValueRank, heads * (still + value)),
    of('o_proj', heads * value, width, bias),
  ];
}

/** The weights of the norms of the latents. */
export const latentNorms = ({ queryRank, keyValueRank }: LatentAttention, block: string): ParameterInfo[] => [
  ...(queryRank === undefined
    ? []
    : [{ name: `${block}.${BLOCK}.q_a_layernorm.weight`, shape: [queryRank], init: 'ones' as const }]),
  { name: `${block}.${BLOCK}.kv_a_layernorm.weight`, shape: [keyValueRank], init: 'ones' },
];

/**
 * Multi-head latent attention (arXiv 2405.04434, equations 37 to 47) over what a block has normalised, up to the output projection: [b, s, width] →
 * [b, s, heads · value]. With c = norm(kv_a(x)) of `keyValueRank` components and r the rest of kv_a(x), turned, the key of head h is
 * (W_k,h c, r) and its value W_v,h c. The cache has keys and values of each head, as other families have them, and not c and r.
 */
export function latentAttention(
  { numAttentionHeads: heads, headDim }: DecoderConfig,
  { queryRank, keyValueRank, still, turned, value, epsilon }: LatentAttention,
  layers: BoundLayers,
  input: ForwardInput,
  turn: (x: Tensor, layer: number) => Tensor,
) {
  const { linear } = layers;
  const norm = rmsNormOf(layers, epsilon);
  const padded = (x: Tensor): Tensor => {
    const [b, h, s, d] = x.shape as [number, number, number, number];
    return d === headDim ? x : concat([x, zeros([b, h, s, headDim - d], x.dtype)], 3);
  };
  return (x: Tensor, layer: number, block: string): Tensor => {
    const part = (name: string) => `${block}.${BLOCK}.${name}`;
    const flat =
      queryRank === undefined
        ? linear(x, part('q_proj'))
        : linear(norm(linear(x, part('q_a_proj')), part('q_a_layernorm')), part('q_b_proj'));
    const q = splitHeads(flat, heads);
    const compressed = linear(x, part('kv_a_proj_with_mqa'));
    const c = norm(compressed.slice(2, 0, keyValueRank), part('kv_a_layernorm'));
    const keyValue = splitHeads(linear(c, part('kv_b_proj')), heads);
    return nameScope(part('attention'), () => {
      const [b, s] = x.shape as [number, number];
      const shared = turn(splitHeads(compressed.slice(2, keyValueRank), 1), layer).broadcastTo([b, heads, s, turned]);
      const queries = concat([q.slice(3, 0, still), turn(q.slice(3, still), layer)], 3);
      const keys = concat([keyValue.slice(3, 0, still), shared], 3);
      const mixed = input.attend(layer, padded(queries), padded(keys), padded(keyValue.slice(3, still)));
      return joinHeads(value === headDim ? mixed : mixed.slice(3, 0, value));
    });
  };
}
