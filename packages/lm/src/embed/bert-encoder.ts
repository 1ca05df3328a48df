import { currentEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensorsFolder } from '@posttrain/core-tensor/io';
import { assertArgument, PosttrainError } from '@posttrain/interfaces';
import { type EncoderConfig, loadEncoderConfig } from '../config/index.js';
import { encoderNetwork } from '../model/encoder.js';
import type { EncoderNetwork } from '../model/encoder-network.js';
import { isWeights, WEIGHTS, type Weights } from '../model/layers.js';
import { WeightMismatchError } from '../model/stored-names.js';
import { assertModelFolder } from '../model-folder.js';
import { Tokenizer } from '../tokenizer/index.js';

/** The parts of an encoder. */
export interface BertEncoderParts {
  readonly config: EncoderConfig;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  /** For reports. */
  readonly name: string;
}

/** A BERT, RoBERTa, XLM-RoBERTa or ModernBERT encoder with its tokenizer. Immutable, as `CausalLM`. */
export class BertEncoder {
  readonly name: string;
  readonly config: EncoderConfig;
  readonly network: EncoderNetwork;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  /** See `EmbeddingModel`. */
  readonly defaultPooling = 'mean';

  constructor(parts: BertEncoderParts, network: EncoderNetwork = encoderNetwork(parts.config)) {
    this.name = parts.name;
    this.config = parts.config;
    this.network = network;
    this.weights = parts.weights;
    this.tokenizer = parts.tokenizer;
    if (parts.tokenizer.vocabSize > parts.config.vocabSize) {
      throw new PosttrainError(
        'VOCABULARY',
        `${parts.name}: the tokenizer has ${parts.tokenizer.vocabSize} ids but the embedding only ${parts.config.vocabSize} rows`,
      );
    }
  }

  /** Loads a local Hugging Face folder: `config.json`, `*.safetensors`, tokenizer files. */
  static async load(folder: string): Promise<BertEncoder> {
    await assertModelFolder('BertEncoder.load', folder);
    const engine = currentEngine();
    const config = await loadEncoderConfig(folder);
    const tokenizer = await Tokenizer.load(folder);
    const network = encoderNetwork(config, engine);
    return new BertEncoder(
      { config, tokenizer, weights: await loadEncoderWeights(folder, network), name: folder },
      network,
    );
  }

  /** The same encoder with other weights. */
  withWeights(weights: Weights, name: string = this.name): BertEncoder {
    assertArgument('BertEncoder.withWeights', 'weights', weights, isWeights(weights), WEIGHTS);
    return new BertEncoder({ config: this.config, tokenizer: this.tokenizer, weights, name }, this.network);
  }
}

/** What checkpoints carry beside the encoder: the pooler and the heads of pre-training, and a buffer. */
const NOT_READ =
  /^(?:bert\.|roberta\.)?(?:pooler\.|embeddings\.position_ids$)|^(?:cls|classifier|lm_head|head|decoder)\./;

/** What models with a head have before the names of the encoder. */
const PREFIXES = ['bert.', 'roberta.', 'model.'];

/** Names that a parameter has had: with the prefix of models with a head, and LayerNorm's in the oldest checkpoints. */
function storedNames(name: string): string[] {
  const old = name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta');
  return [name, old].flatMap((candidate) => [candidate, ...PREFIXES.map((prefix) => prefix + candidate)]);
}

/** Reads the weights as float32, strict both ways. @throws WeightMismatchError */
export async function loadEncoderWeights(folder: string, network: EncoderNetwork): Promise<Weights> {
  const source = await openSafetensorsFolder(folder);
  try {
    const problems: string[] = [];
    const used = new Set<string>();
    const weights: Record<string, Tensor> = {};
    for (const { name, shape } of network.parameters) {
      const stored = storedNames(name).find((candidate) => source.tensors.has(candidate));
      const found = stored === undefined ? undefined : source.tensors.get(stored)!.shape;
      if (stored === undefined || found === undefined) problems.push(`${name} is missing`);
      else if (`${found}` !== `${shape}`) {
        problems.push(`${stored} has shape [${found.join(', ')}] where the config asks for [${shape.join(', ')}]`);
      } else {
        used.add(stored);
        weights[name] = tensor((await source.read(stored, { as: 'float32' })).data, shape, 'float32');
      }
    }
    for (const name of source.tensors.keys()) {
      if (!used.has(name) && !NOT_READ.test(name))
        problems.push(`${name} has no place in a ${network.config.modelType} encoder`);
    }
    if (problems.length > 0) throw new WeightMismatchError(folder, problems);
    return weights;
  } finally {
    await source.close();
  }
}
