import type { TensorInfo } from '@posttrain/core-tensor/io';
import type { ModelConfig } from '../config/index.js';

/** What is smaller than that costs nothing to plan, and gets a message that says more. */
const SMALL = 2 ** 22;
/** Formats of quantised weights have that many to a byte at most. */
const NUMBERS_A_BYTE = 4;

/**
 * The parameters that a config asks for, by arithmetic only and without small ones (norms, biases, routers): a model's weights
 * are never fewer.
 */
export function impliedParameters(config: ModelConfig): number {
  const { hiddenSize: width, intermediateSize, numHiddenLayers: layers, vocabSize } = config;
  const embedding = vocabSize * width * (config.tieWordEmbeddings || config.head ? 1 : 2);
  const labels = (config.head?.labels.length ?? 0) * width;
  if (config.modelType === 'gpt2') {
    const block = 4 * width * width + 2 * width * intermediateSize;
    return embedding + labels + config.maxPositionEmbeddings * width + layers * block;
  }
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = config;
  const attention = 2 * (heads + kvHeads) * headDim * width;
  const recurrence = 'recurrence' in config ? config.recurrence : undefined;
  const isWithout = (recurs: boolean) => recurs && !recurrence!.beside;
  const attending = layers - (recurrence?.layers.filter(isWithout).length ?? 0);
  const experts = 'experts' in config ? config.experts : undefined;
  const sparse = experts ? experts.sparseLayers.filter(Boolean).length : 0;
  const routed = experts ? sparse * experts.count * 3 * width * experts.intermediateSize : 0;
  const matrices = 'names' in config && !config.names.gate && !config.names.gateUp ? 2 : 3;
  const fed = 'hasMlp' in config && !config.hasMlp ? 0 : layers - sparse;
  return embedding + labels + attending * attention + routed + fed * matrices * width * intermediateSize;
}

/**
 * What is wrong when a config asks for many times the numbers that its weights have; undefined when they may fit. Looked at
 * before anything is made for each layer and expert.
 */
export function tooLarge(config: ModelConfig, tensors: Iterable<TensorInfo>): string | undefined {
  let stored = 0;
  for (const { byteLength } of tensors) stored += byteLength * NUMBERS_A_BYTE;
  const implied = impliedParameters(config);
  if (implied <= Math.max(stored, SMALL)) return undefined;
  return `config.json asks for ${implied} parameters, but the weights have ${stored / NUMBERS_A_BYTE} bytes`;
}
