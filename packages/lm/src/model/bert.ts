import {
  currentEngine,
  type Engine,
  iota,
  layerNorm,
  nameScope,
  selfAttention,
  type Tensor,
} from '@posttrain/core-tensor';
import type { BertConfig } from '../config/index.js';
import { activations } from './activations.js';
import { linearParameters, type Projection } from './decoder-layers.js';
import { type EncoderNetwork, refusePrefix } from './encoder-network.js';
import { bindLayers, joinHeads, linearModules, type ParameterInfo, splitHeads } from './family.js';
import type { ModuleInfo } from './layers.js';

const TABLES = ['word', 'position', 'token_type'] as const;

const tableSizes = ({ vocabSize, maxPositionEmbeddings, typeVocabSize, paddedFrom = -1 }: BertConfig) => ({
  word: vocabSize,
  position: maxPositionEmbeddings + paddedFrom + 1,
  token_type: typeVocabSize,
});

const tableName = (table: (typeof TABLES)[number]): string => `embeddings.${table}_embeddings`;

const blockIndices = ({ numHiddenLayers }: BertConfig): number[] =>
  Array.from({ length: numHiddenLayers }, (_, i) => i);

function projections({ hiddenSize: width, intermediateSize: inner }: BertConfig, layer: number): Projection[] {
  const name = `encoder.layer.${layer}`;
  return [
    { name: `${name}.attention.self.query`, in: width, out: width, bias: true },
    { name: `${name}.attention.self.key`, in: width, out: width, bias: true },
    { name: `${name}.attention.self.value`, in: width, out: width, bias: true },
    { name: `${name}.attention.output.dense`, in: width, out: width, bias: true },
    { name: `${name}.intermediate.dense`, in: width, out: inner, bias: true },
    { name: `${name}.output.dense`, in: inner, out: width, bias: true },
  ];
}

/**
 * BERT (arXiv 1810.04805), the encoder that most sentence-embedding models are: learned positions, post-norm blocks of
 * attention in both directions and an MLP, biases everywhere:
 *
 *     y = LayerNorm(x + attention(x)),   x' = LayerNorm(y + down(act(up(y))))
 *
 * RoBERTa (arXiv 1907.11692) and XLM-RoBERTa (arXiv 1911.02116) differ in where positions begin: see `rowsBehind`. Every token is of token type 0. There is no pooler: sentence embeddings do not use it.
 */
export function bertNetwork(config: BertConfig, engine: Engine = currentEngine()): EncoderNetwork {
  const { hiddenSize: width, numAttentionHeads: heads } = config;
  const sizes = tableSizes(config);
  const tables = TABLES.map((table): ModuleInfo => {
    const features = { inFeatures: width, outFeatures: sizes[table] };
    return { ...features, name: tableName(table), kind: 'embedding', layer: undefined, transposed: false };
  });
  const blocks = blockIndices(config).flatMap((layer) =>
    linearModules(projections(config, layer), layer, { transposed: false }),
  );
  const modules = new Map([...tables, ...blocks].map((module) => [module.name, module]));

  return {
    config,
    engine,
    modules,
    parameters: bertParameters(config),

    hidden(weights, { tokens, positions, segments }, hooks = {}) {
      refusePrefix(hooks);
      const layers = bindLayers(weights, modules, hooks, { positions, inputs: {} });
      const { linear, embedding } = layers;
      const norm = (x: Tensor, name: string) =>
        layers.norm(x, name, (states, { weight, bias }) =>
          layerNorm(states, weight, bias!, { epsilon: config.layerNormEps }),
        );
      const scale = 1 / Math.sqrt(width / heads);
      const rows = config.paddedFrom === undefined ? positions : rowsBehind(config.paddedFrom, tokens, positions);
      const indices = { word: tokens, position: rows, token_type: tokens.mul(0) };
      const embedded = TABLES.map((table) => embedding(indices[table], tableName(table))).reduce((a, b) => a.add(b));
      return blockIndices(config).reduce(
        (x, layer) => {
          const name = `encoder.layer.${layer}`;
          const part = (projection: string) => splitHeads(linear(x, `${name}.attention.self.${projection}`), heads);
          const mixed = nameScope(`${name}.attention`, () =>
            selfAttention(part('query'), part('key'), part('value'), { scale, causal: false, segments }),
          );
          const attended = linear(joinHeads(mixed), `${name}.attention.output.dense`);
          const y = norm(layers.residual(x, attended, layer, 'attention'), `${name}.attention.output.LayerNorm`);
          const inner = activations[config.hiddenAct](linear(y, `${name}.intermediate.dense`));
          const transformed = linear(inner, `${name}.output.dense`);
          return norm(layers.residual(y, transformed, layer, 'mlp'), `${name}.output.LayerNorm`);
        },
        norm(embedded, 'embeddings.LayerNorm'),
      );
    },
  };
}

/**
 * RoBERTa's rows in the table of positions, int32 [b, s]: padding + 1 for the first token of a text that is no padding, one more for each after
 * it; the padding itself has row `padding`. `positions` restart where texts meet in a row.
 */
function rowsBehind(padding: number, tokens: Tensor, positions: Tensor): Tensor {
  const isText = tokens.notEqual(padding).cast('int32');
  const counted = isText.cumsum(1);
  const starts = iota(tokens.shape, 1).sub(positions);
  const before = counted.sub(isText).takeAlongAxis(starts, 1);
  return counted.sub(before).mul(isText).add(padding);
}

function bertParameters(config: BertConfig): ParameterInfo[] {
  const shape = [config.hiddenSize];
  const norm = (name: string): ParameterInfo[] => [
    { name: `${name}.weight`, shape, init: 'ones' },
    { name: `${name}.bias`, shape, init: 'zeros' },
  ];
  const tables = TABLES.map(
    (table): ParameterInfo => ({
      name: `${tableName(table)}.weight`,
      shape: [tableSizes(config)[table], config.hiddenSize],
      init: 'normal',
    }),
  );
  const blocks = blockIndices(config).flatMap((layer) => [
    ...linearParameters(projections(config, layer)),
    ...norm(`encoder.layer.${layer}.attention.output.LayerNorm`),
    ...norm(`encoder.layer.${layer}.output.LayerNorm`),
  ]);
  return [...tables, ...norm('embeddings.LayerNorm'), ...blocks];
}
