import {
  currentEngine,
  type Engine,
  layerNorm,
  nameScope,
  rotary,
  selfAttention,
  type Tensor,
  zeros,
} from '@posttrain/core-tensor';
import type { LayerType, ModernBertConfig } from '../config/index.js';
import { gated, linearParameters, type Projection } from './decoder-layers.js';
import { type EncoderNetwork, refusePrefix } from './encoder-network.js';
import { bindLayers, joinHeads, linearModules, type ParameterInfo, splitHeads } from './family.js';
import type { ModuleInfo } from './layers.js';
import { rotaryAngles, rotationOf } from './rotary-angles.js';

const EMBEDDING = 'embeddings.tok_embeddings';

const blockIndices = ({ numHiddenLayers }: ModernBertConfig): number[] =>
  Array.from({ length: numHiddenLayers }, (_, i) => i);

function projections(config: ModernBertConfig, layer: number): Projection[] {
  const { hiddenSize: width, intermediateSize: inner, biases } = config;
  const name = `layers.${layer}`;
  return [
    { name: `${name}.attn.Wqkv`, in: width, out: 3 * width, bias: biases.attention },
    { name: `${name}.attn.Wo`, in: width, out: width, bias: biases.attention },
    { name: `${name}.mlp.Wi`, in: width, out: 2 * inner, bias: biases.mlp },
    { name: `${name}.mlp.Wo`, in: inner, out: width, bias: biases.mlp },
  ];
}

/** The norm before attention of a layer; the first has none, as the embedding has one. */
const attentionNorm = (layer: number): string | undefined => (layer === 0 ? undefined : `layers.${layer}.attn_norm`);

/**
 * ModernBERT (arXiv 2412.13663): pre-norm blocks of attention in both directions and a gated MLP (arXiv 2002.05202), rotary positions of
 * which global and local layers have bases of their own; a token of a local layer sees those up to `localDistance` away:
 *
 *     y = x + attention(LayerNorm(x)),   x' = y + down(act(a) · b),  [a, b] = up(LayerNorm(y))
 *
 * Texts may be padded, or stand in one row with segments of their own: the states are the same.
 */
export function modernBertNetwork(config: ModernBertConfig, engine: Engine = currentEngine()): EncoderNetwork {
  const { hiddenSize: width, intermediateSize: inner, numAttentionHeads: heads } = config;
  const headDim = width / heads;
  const embedding: ModuleInfo = {
    ...{ inFeatures: width, outFeatures: config.vocabSize, name: EMBEDDING, kind: 'embedding' },
    ...{ layer: undefined, transposed: false },
  };
  const blocks = blockIndices(config).flatMap((layer) =>
    linearModules(projections(config, layer), layer, { transposed: false }),
  );
  const modules = new Map([embedding, ...blocks].map((module) => [module.name, module]));

  return {
    config,
    engine,
    modules,
    parameters: modernBertParameters(config),

    hidden(weights, { tokens, positions, segments }, hooks = {}) {
      refusePrefix(hooks);
      const layers = bindLayers(weights, modules, hooks, { positions, inputs: {} });
      const norm = (x: Tensor, name: string | undefined) =>
        name === undefined
          ? x
          : layers.norm(x, name, (states, { weight, bias }) =>
              layerNorm(states, weight, bias ?? zeros([width], states.dtype), { epsilon: config.layerNormEps }),
            );
      const embedded = norm(layers.embedding(tokens, EMBEDDING), 'embeddings.norm');
      const angles = {
        full_attention: rotaryAngles(positions, rotationOf(config.rope, headDim), embedded),
        sliding_attention: rotaryAngles(positions, rotationOf(config.localRope, headDim), embedded),
      } satisfies Record<LayerType, [Tensor, Tensor]>;

      const attend = (x: Tensor, layer: number): Tensor => {
        const name = `layers.${layer}.attn`;
        const type = config.layerTypes[layer]!;
        const [cos, sin] = angles[type];
        const joined = layers.linear(x, `${name}.Wqkv`);
        const part = (i: number) => splitHeads(joined.slice(2, i * width, (i + 1) * width), heads);
        const how = { scale: 1 / Math.sqrt(headDim), causal: false, ...(segments && { segments }) };
        const window = type === 'sliding_attention' ? { slidingWindow: config.localDistance + 1 } : {};
        const mixed = nameScope(name, () =>
          selfAttention(rotary(part(0), cos, sin), rotary(part(1), cos, sin), part(2), { ...how, ...window }),
        );
        return layers.linear(joinHeads(mixed), `${name}.Wo`);
      };
      const feed = (x: Tensor, layer: number): Tensor => {
        const name = `layers.${layer}.mlp`;
        const both = layers.linear(x, `${name}.Wi`);
        const active = gated(both.slice(2, 0, inner), both.slice(2, inner), config.hiddenAct, name);
        return layers.linear(active, `${name}.Wo`);
      };
      const out = blockIndices(config).reduce((x, layer) => {
        const y = layers.residual(x, attend(norm(x, attentionNorm(layer)), layer), layer, 'attention');
        return layers.residual(y, feed(norm(y, `layers.${layer}.mlp_norm`), layer), layer, 'mlp');
      }, embedded);
      return norm(out, 'final_norm');
    },
  };
}

function modernBertParameters(config: ModernBertConfig): ParameterInfo[] {
  const shape = [config.hiddenSize];
  const norm = (name: string | undefined): ParameterInfo[] => [
    ...(name === undefined ? [] : [{ name: `${name}.weight`, shape, init: 'ones' as const }]),
    ...(name === undefined || !config.biases.norm ? [] : [{ name: `${name}.bias`, shape, init: 'zeros' as const }]),
  ];
  const blocks = blockIndices(config).flatMap((layer) => [
    ...norm(attentionNorm(layer)),
    ...linearParameters(projections(config, layer)),
    ...norm(`layers.${layer}.mlp_norm`),
  ]);
  const table: ParameterInfo = {
    ...{ name: `${EMBEDDING}.weight`, shape: [config.vocabSize, config.hiddenSize], init: 'normal' },
  };
  return [table, ...norm('embeddings.norm'), ...blocks, ...norm('final_norm')];
}
