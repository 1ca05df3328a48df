import { nameScope, rotary } from '@posttrain/core-tensor';
import { EXPERT_NAMES, MIXTRAL_NAMES } from '../config/experts-config.js';
import type { RotaryModelConfig } from '../config/index.js';
import {
  attentionProjections,
  decoderModules,
  decoderParameters,
  gatedMlp,
  keyValueCacheShape,
  linearParameters,
  mlpProjections,
  normParameters,
  type Projection,
  rmsNormOf,
  runBlocks,
  windowOf,
} from './decoder-layers.js';
import { joinHeads, type ModelFamily, splitHeads } from './family.js';
import { expertsProjections, type Mixture, mixtureOfExperts } from './mixture-of-experts.js';
import { rotaryAngles, rotationOf } from './rotary-angles.js';

/** The mixture of a layer; undefined where it has one MLP. */
function mixtureOf({ experts, modelType, ...sizes }: RotaryModelConfig, layer: number): Mixture | undefined {
  if (!experts?.sparseLayers[layer]) return undefined;
  return { ...sizes, experts, names: modelType === 'mixtral' ? MIXTRAL_NAMES : EXPERT_NAMES };
}

function feedForwardProjections(config: RotaryModelConfig, layer: number): Projection[] {
  const mixture = mixtureOf(config, layer);
  return mixture ? expertsProjections(mixture, `model.layers.${layer}`) : mlpProjections(config, layer, config.mlpBias);
}

const projections = (config: RotaryModelConfig, layer: number) => [
  ...attentionProjections(config, layer, config),
  ...feedForwardProjections(config, layer),
];

/**
 * Llama 2 and 3, SmolLM2 (arXiv 2302.13971), Mistral (arXiv 2310.06825), Qwen2 and 2.5 (arXiv 2407.10671) and Qwen3
 * (arXiv 2505.09388): pre-norm blocks of grouped-query attention with rotary positions and a gated MLP. They differ
 * in biases, sliding windows and normalised queries and keys, all of which the config says. Mixtral and Qwen3-MoE have
 * experts in place of the MLP: see `mixtureOfExperts`.
 */
export const rotaryDecoder: ModelFamily<RotaryModelConfig> = {
  parameters: (config) =>
    decoderParameters(config, (layer) => [
      ...linearParameters(projections(config, layer)),
      ...normParameters(layer, {
        input_layernorm: config.hiddenSize,
        post_attention_layernorm: config.hiddenSize,
        ...(config.qkNorm && { 'self_attn.q_norm': config.headDim, 'self_attn.k_norm': config.headDim }),
      }),
    ]),

  modules: (config) => decoderModules(config, (layer) => projections(config, layer)),

  cacheShape: keyValueCacheShape,

  attention: (config, layer) => ({ scale: 1 / Math.sqrt(config.headDim), ...windowOf(config, layer) }),

  hidden(config, layers, input) {
    const { linear, embedding } = layers;
    const norm = rmsNormOf(layers, config.rmsNormEps);
    const x = embedding(input.tokens, 'model.embed_tokens');
    const [cos, sin] = rotaryAngles(input.positions, rotationOf(config.rope, config.headDim), x);

    const out = runBlocks(config, input, x, (layer, name) => (x) => {
      const attention = `${name}.self_attn`;
      const h = norm(x, `${name}.input_layernorm`);
      const heads = (part: string, count: number) => splitHeads(linear(h, `${attention}.${part}_proj`), count);
      const turned = (part: 'q' | 'k', count: number) => {
        const states = heads(part, count);
        return rotary(config.qkNorm ? norm(states, `${attention}.${part}_norm`) : states, cos, sin);
      };
      const mixed = nameScope(attention, () => {
        const [q, k] = [turned('q', config.numAttentionHeads), turned('k', config.numKeyValueHeads)];
        return input.attend(layer, q, k, heads('v', config.numKeyValueHeads));
      });
      const y = layers.residual(x, linear(joinHeads(mixed), `${attention}.o_proj`), layer, 'attention');
      const m = norm(y, `${name}.post_attention_layernorm`);
      const mixture = mixtureOf(config, layer);
      const transformed = mixture
        ? mixtureOfExperts(mixture, layers, m, name)
        : gatedMlp(layers, m, `${name}.mlp`, config.hiddenAct);
      return layers.residual(y, transformed, layer, 'mlp');
    });
    return norm(out, 'model.norm');
  },
};
