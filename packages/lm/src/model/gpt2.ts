import { layerNorm, nameScope, type Tensor } from '@posttrain/core-tensor';
import type { Gpt2Config } from '../config/index.js';
import { activations } from './activations.js';
import { joinHeads, layerIndices, linearModules, type ModelFamily, type ParameterInfo, splitHeads } from './family.js';
import type { ModuleInfo } from './layers.js';

function projections(config: Gpt2Config, layer: number) {
  const { hiddenSize: width, intermediateSize: inner } = config;
  const block = `transformer.h.${layer}`;
  return [
    { name: `${block}.attn.c_attn`, in: width, out: 3 * width },
    { name: `${block}.attn.c_proj`, in: width, out: width },
    { name: `${block}.mlp.c_fc`, in: width, out: inner },
    { name: `${block}.mlp.c_proj`, in: inner, out: width },
  ];
}

/**
 * GPT-2 (Radford et al. 2019): pre-norm blocks with LayerNorm, learned positions, one projection for q, k and v, and
 * linear weights stored [in, out].
 */
export const gpt2: ModelFamily<Gpt2Config> = {
  parameters(config) {
    const width = config.hiddenSize;
    const norm = (name: string): ParameterInfo[] => [
      { name: `${name}.weight`, shape: [width], init: 'ones' },
      { name: `${name}.bias`, shape: [width], init: 'zeros' },
    ];
    // 1 / √N of what N sublayers add to the residual stream.
    const initScale = 1 / Math.sqrt(2 * layerIndices(config).length);
    const residual = (name: string) => (name.endsWith('.c_proj') ? { initScale } : {});
    const blocks = layerIndices(config).flatMap((layer) => [
      ...norm(`transformer.h.${layer}.ln_1`),
      ...norm(`transformer.h.${layer}.ln_2`),
      ...projections(config, layer).flatMap(({ name, in: inputs, out }): ParameterInfo[] => [
        { name: `${name}.weight`, shape: [inputs, out], init: 'normal', ...residual(name) },
        { name: `${name}.bias`, shape: [out], init: 'zeros' },
      ]),
    ]);
    const head: ParameterInfo[] = config.tieWordEmbeddings
      ? []
      : [{ name: 'lm_head.weight', shape: [config.vocabSize, width], init: 'normal' }];
    return [
      { name: 'transformer.wte.weight', shape: [config.vocabSize, width], init: 'normal' },
      { name: 'transformer.wpe.weight', shape: [config.maxPositionEmbeddings, width], init: 'normal' },
      ...blocks,
      ...norm('transformer.ln_f'),
      ...head,
    ];
  },

  modules(config) {
    const [inFeatures, outFeatures] = [config.hiddenSize, config.vocabSize];
    const outside = { inFeatures, layer: undefined, transposed: false };
    const embedding: ModuleInfo = { ...outside, outFeatures, name: 'transformer.wte', kind: 'embedding' };
    const position = { ...outside, outFeatures: config.maxPositionEmbeddings, name: 'transformer.wpe' };
    const tied = config.tieWordEmbeddings ? { tiedTo: embedding.name } : {};
    const blocks = layerIndices(config).flatMap((layer) =>
      linearModules(projections(config, layer), layer, { transposed: true }),
    );
    return [
      embedding,
      { ...position, kind: 'embedding' },
      ...blocks,
      { ...outside, outFeatures, name: 'lm_head', kind: 'head', ...tied },
    ];
  },

  cacheShape: (config) => ({
    layers: config.numHiddenLayers,
    kvHeads: config.numAttentionHeads,
    headDim: config.hiddenSize / config.numAttentionHeads,
  }),

  attention: (config) => ({ scale: 1 / Math.sqrt(config.hiddenSize / config.numAttentionHeads) }),

  hidden(config, layers, { tokens, positions, attend, block: run }) {
    const { linear, embedding } = layers;
    const { hiddenSize: width, numAttentionHeads: heads } = config;
    const norm = (x: Tensor, name: string) =>
      layers.norm(x, name, (states, { weight, bias }) =>
        layerNorm(states, weight, bias!, { epsilon: config.layerNormEps }),
      );
    const activation = activations[config.hiddenAct];

    const block = (layer: number, name: string) => (x: Tensor) => {
      const qkv = linear(norm(x, `${name}.ln_1`), `${name}.attn.c_attn`);
      const part = (i: number) => splitHeads(qkv.slice(2, i * width, (i + 1) * width), heads);
      const mixed = nameScope(`${name}.attn`, () => attend(layer, part(0), part(1), part(2)));
      const y = layers.residual(x, linear(joinHeads(mixed), `${name}.attn.c_proj`), layer, 'attention');
      const expanded = linear(norm(y, `${name}.ln_2`), `${name}.mlp.c_fc`);
      const inner = nameScope(`${name}.mlp`, () => activation(expanded));
      return layers.residual(y, linear(inner, `${name}.mlp.c_proj`), layer, 'mlp');
    };

    let x = embedding(tokens, 'transformer.wte').add(embedding(positions, 'transformer.wpe'));
    for (const layer of layerIndices(config)) {
      const name = `transformer.h.${layer}`;
      x = run(name, block(layer, name), x);
    }
    return norm(x, 'transformer.ln_f');
  },
};
