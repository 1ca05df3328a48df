import { concat, nameScope, rotary, type Tensor } from '@posttrain/core-tensor';
import { type Phi3Config, rotaryWidth } from '../config/index.js';
import {
  decoderModules,
  decoderParameters,
  gated,
  keyValueCacheShape,
  linearParameters,
  normParameters,
  type Projection,
  rmsNormOf,
  runBlocks,
} from './decoder-layers.js';
import { joinHeads, type ModelFamily, splitHeads } from './family.js';
import { rotaryAngles, rotationOf } from './rotary-angles.js';

function projections(config: Phi3Config, layer: number): Projection[] {
  const { hiddenSize: width, intermediateSize: inner, headDim } = config;
  const [q, kv] = [config.numAttentionHeads * headDim, config.numKeyValueHeads * headDim];
  const block = `model.layers.${layer}`;
  return [
    { name: `${block}.self_attn.qkv_proj`, in: width, out: q + 2 * kv },
    { name: `${block}.self_attn.o_proj`, in: q, out: width },
    { name: `${block}.mlp.gate_up_proj`, in: width, out: 2 * inner },
    { name: `${block}.mlp.down_proj`, in: inner, out: width },
  ];
}

/**
 * Phi-3 (arXiv 2404.14219), Phi-3.5, Phi-4 (arXiv 2412.08905) and Phi-4-mini: Llama's blocks with one projection for
 * queries, keys and values and one for gate and up; rotary positions over a part of each head, stretched for long
 * sequences (LongRoPE, arXiv 2402.13753).
 */
export const phi3: ModelFamily<Phi3Config> = {
  parameters: (config) =>
    decoderParameters(config, (layer) => [
      ...linearParameters(projections(config, layer)),
      ...normParameters(layer, {
        input_layernorm: config.hiddenSize,
        post_attention_layernorm: config.hiddenSize,
      }),
    ]),

  modules: (config) => decoderModules(config, (layer) => projections(config, layer)),

  cacheShape: keyValueCacheShape,

  attention: ({ headDim, slidingWindow }) => ({
    scale: 1 / Math.sqrt(headDim),
    ...(slidingWindow !== undefined && { slidingWindow }),
  }),

  hidden(config, layers, input) {
    const { linear, embedding } = layers;
    const { rope, headDim, intermediateSize: inner, numAttentionHeads: heads, numKeyValueHeads: kvHeads } = config;
    const norm = rmsNormOf(layers, config.rmsNormEps);
    const x = embedding(input.tokens, 'model.embed_tokens');
    const rotation = rotationOf(rope, rotaryWidth(config), config.longContext);
    const [cos, sin] = rotaryAngles(input.positions, rotation, x);
    const turned = (states: Tensor) => {
      const width = rotaryWidth(config);
      if (width === headDim) return rotary(states, cos, sin);
      return concat([rotary(states.slice(3, 0, width), cos, sin), states.slice(3, width)], 3);
    };

    const out = runBlocks(config, input, x, (layer, name) => (x) => {
      const qkv = linear(norm(x, `${name}.input_layernorm`), `${name}.self_attn.qkv_proj`);
      const mixed = nameScope(`${name}.self_attn`, () => {
        const part = (from: number, count: number) =>
          splitHeads(qkv.slice(2, from * headDim, (from + count) * headDim), count);
        const [q, k, v] = [part(0, heads), part(heads, kvHeads), part(heads + kvHeads, kvHeads)];
        return input.attend(layer, turned(q), turned(k), v);
      });
      const y = layers.residual(x, linear(joinHeads(mixed), `${name}.self_attn.o_proj`), layer, 'attention');
      const gateUp = linear(norm(y, `${name}.post_attention_layernorm`), `${name}.mlp.gate_up_proj`);
      const [gate, up] = [gateUp.slice(2, 0, inner), gateUp.slice(2, inner)];
      const transformed = linear(gated(gate, up, config.hiddenAct, `${name}.mlp`), `${name}.mlp.down_proj`);
      return layers.residual(y, transformed, layer, 'mlp');
    });
    return norm(out, 'model.norm');
  },
};
