import { nameScope, rmsNorm, rotary, type Tensor } from '@posttrain/core-tensor';
import type { GemmaConfig } from '../config/index.js';
import {
  blockProjections,
  decoderModules,
  decoderParameters,
  gatedMlp,
  keyValueCacheShape,
  linearParameters,
  normParameters,
  runBlocks,
  windowOf,
} from './decoder-layers.js';
import { joinHeads, type ModelFamily, splitHeads } from './family.js';
import { rotaryAngles, rotationOf } from './rotary-angles.js';

const BLOCK_NORMS = [
  'input_layernorm',
  'post_attention_layernorm',
  'pre_feedforward_layernorm',
  'post_feedforward_layernorm',
];

/**
 * Gemma 2 (arXiv 2408.00118) and 3 (arXiv 2503.19786): what enters a sublayer and what leaves it is normalised, with
 * RMSNorm · (1 + w); embeddings are multiplied by √width; layers with a sliding window alternate with full ones, which in
 * Gemma 3 have another rotary base, and 5 sliding ones before each. Gemma 2 caps scores and logits softly; Gemma 3
 * normalises queries and keys instead.
 */
export const gemma: ModelFamily<GemmaConfig> = {
  parameters: (config) =>
    decoderParameters(
      config,
      (layer) => [
        ...linearParameters(blockProjections(config, layer)),
        ...normParameters(
          layer,
          {
            ...Object.fromEntries(BLOCK_NORMS.map((name) => [name, config.hiddenSize])),
            ...(hasQkNorm(config) && { 'self_attn.q_norm': config.headDim, 'self_attn.k_norm': config.headDim }),
          },
          'zeros',
        ),
      ],
      'zeros',
    ),

  modules: (config) => decoderModules(config, (layer) => blockProjections(config, layer)),

  cacheShape: keyValueCacheShape,

  attention: (config, layer) => ({
    scale: 1 / Math.sqrt(config.queryPreAttnScalar),
    ...windowOf(config, layer),
    ...(config.attnLogitSoftcapping !== undefined && { softCap: config.attnLogitSoftcapping }),
  }),

  virtualTokenFactor: ({ hiddenSize }) => 1 / Math.fround(Math.sqrt(hiddenSize)),

  logitSoftCap: (config) => config.finalLogitSoftcapping,

  hidden(config, layers, input) {
    const { linear, embedding } = layers;
    const norm = (x: Tensor, name: string) =>
      layers.norm(x, name, (states, { weight }) => rmsNorm(states, weight.add(1), { epsilon: config.rmsNormEps }));
    // transformers rounds the factor to the type of the weights too.
    const x = embedding(input.tokens, 'model.embed_tokens').mul(Math.fround(Math.sqrt(config.hiddenSize)));
    const anglesOf = (rope: GemmaConfig['rope']) => rotaryAngles(input.positions, rotationOf(rope, config.headDim), x);
    const angles = { full_attention: anglesOf(config.rope), sliding_attention: anglesOf(config.slidingRope) };

    const out = runBlocks(config, input, x, (layer, name) => (x) => {
      const attention = `${name}.self_attn`;
      const h = norm(x, `${name}.input_layernorm`);
      const heads = (part: string, count: number) => splitHeads(linear(h, `${attention}.${part}_proj`), count);
      const turned = (part: 'q' | 'k', count: number) => {
        const states = heads(part, count);
        const normed = hasQkNorm(config) ? norm(states, `${attention}.${part}_norm`) : states;
        return rotary(normed, ...angles[config.layerTypes[layer]!]);
      };
      const mixed = nameScope(attention, () => {
        const [q, k] = [turned('q', config.numAttentionHeads), turned('k', config.numKeyValueHeads)];
        return input.attend(layer, q, k, heads('v', config.numKeyValueHeads));
      });
      const attended = linear(joinHeads(mixed), `${attention}.o_proj`);
      const y = layers.residual(x, norm(attended, `${name}.post_attention_layernorm`), layer, 'attention');
      const m = norm(y, `${name}.pre_feedforward_layernorm`);
      const transformed = gatedMlp(layers, m, `${name}.mlp`, config.hiddenAct);
      return layers.residual(y, norm(transformed, `${name}.post_feedforward_layernorm`), layer, 'mlp');
    });
    return norm(out, 'model.norm');
  },
};

const hasQkNorm = ({ modelType }: GemmaConfig): boolean => modelType === 'gemma3_text';
