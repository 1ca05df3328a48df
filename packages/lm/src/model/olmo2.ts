import { nameScope, rotary } from '@posttrain/core-tensor';
import type { Olmo2Config } from '../config/index.js';
import {
  blockProjections,
  decoderModules,
  decoderParameters,
  gatedMlp,
  keyValueCacheShape,
  linearParameters,
  normParameters,
  rmsNormOf,
  runBlocks,
} from './decoder-layers.js';
import { joinHeads, type ModelFamily, splitHeads } from './family.js';
import { rotaryAngles, rotationOf } from './rotary-angles.js';

/**
 * OLMo 2 (arXiv 2501.00656): nothing is normalised before a sublayer; what leaves it is, before it is added. Queries and
 * keys are normalised over all heads together.
 */
export const olmo2: ModelFamily<Olmo2Config> = {
  parameters: (config) =>
    decoderParameters(config, (layer) => [
      ...linearParameters(blockProjections(config, layer)),
      ...normParameters(layer, {
        'self_attn.q_norm': config.numAttentionHeads * config.headDim,
        'self_attn.k_norm': config.numKeyValueHeads * config.headDim,
        post_attention_layernorm: config.hiddenSize,
        post_feedforward_layernorm: config.hiddenSize,
      }),
    ]),

  modules: (config) => decoderModules(config, (layer) => blockProjections(config, layer)),

  cacheShape: keyValueCacheShape,

  attention: ({ headDim }) => ({ scale: 1 / Math.sqrt(headDim) }),

  hidden(config, layers, input) {
    const { linear, embedding } = layers;
    const norm = rmsNormOf(layers, config.rmsNormEps);
    const x = embedding(input.tokens, 'model.embed_tokens');
    const [cos, sin] = rotaryAngles(input.positions, rotationOf(config.rope, config.headDim), x);

    const out = runBlocks(config, input, x, (layer, name) => (x) => {
      const attention = `${name}.self_attn`;
      const turned = (part: 'q' | 'k', count: number) => {
        const states = norm(linear(x, `${attention}.${part}_proj`), `${attention}.${part}_norm`);
        return rotary(splitHeads(states, count), cos, sin);
      };
      const mixed = nameScope(attention, () => {
        const [q, k] = [turned('q', config.numAttentionHeads), turned('k', config.numKeyValueHeads)];
        return input.attend(layer, q, k, splitHeads(linear(x, `${attention}.v_proj`), config.numKeyValueHeads));
      });
      const attended = linear(joinHeads(mixed), `${attention}.o_proj`);
      const y = layers.residual(x, norm(attended, `${name}.post_attention_layernorm`), layer, 'attention');
      const transformed = gatedMlp(layers, y, `${name}.mlp`, config.hiddenAct);
      return layers.residual(y, norm(transformed, `${name}.post_feedforward_layernorm`), layer, 'mlp');
    });
    return norm(out, 'model.norm');
  },
};
