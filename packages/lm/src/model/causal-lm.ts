import {
  currentEngine,
  type Engine,
  Key,
  ones,
  realize,
  type Tensor,
  tensor,
  zerosBuffer,
} from '@posttrain/core-tensor';
import { assertArgument, PosttrainError } from '@posttrain/interfaces';
import { parseChatTemplates } from '../chat-template/chat-templates.js';
import { ChatTemplate } from '../chat-template/index.js';
import { type GenerationConfig, loadGenerationConfig, type ModelConfig } from '../config/index.js';
import { findGguf } from '../gguf/find-gguf.js';
import { ggufTokenizer } from '../gguf/gguf-tokenizer.js';
import { openGgufModel } from '../gguf/model-source.js';
import type { DownloadModelOptions } from '../hub/index.js';
import { assertModelFolder } from '../model-folder.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { HeadError } from './head.js';
import { isWeights, WEIGHTS, type Weights } from './layers.js';
import { loadModelFiles, pretrainedFolder, saveModelFiles } from './model-files.js';
import type { Network } from './network.js';
import { networkOf } from './network-of.js';
import { type PruneOptions, pruneWeights } from './prune.js';
import {
  assertQuantization,
  configQuantizedWith,
  dequantizeWeights,
  type QuantizationOptions,
  quantizeWeights,
  type WeightStorage,
  weightStorage,
} from './quantize.js';
import { type CalibratedQuantizationOptions, isCalibrated, quantizeCalibrated } from './quantize-calibrated.js';
import { type LoadWeightsOptions, readWeights, type SaveWeightsOptions } from './weights.js';

/** The parts of a causal language model. */
export interface CausalLMParts {
  readonly config: ModelConfig;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  readonly generationConfig?: GenerationConfig | undefined;
  /** How conversations become text; base models have none. */
  readonly chatTemplate?: ChatTemplate | undefined;
  /** For reports. */
  readonly name: string;
}

/**
 * A causal language model: weights, the network they belong to and the tokenizer. Immutable; a fine-tuned model is
 * another one with the same network (`withWeights`).
 */
export class CausalLM {
  readonly name: string;
  readonly config: ModelConfig;
  readonly network: Network;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  readonly generationConfig: GenerationConfig | undefined;
  readonly chatTemplate: ChatTemplate | undefined;

  constructor(parts: CausalLMParts, network: Network = networkOf(parts.config)) {
    this.name = parts.name;
    this.config = parts.config;
    this.network = network;
    this.weights = parts.weights;
    this.tokenizer = parts.tokenizer;
    this.generationConfig = parts.generationConfig;
    this.chatTemplate = parts.chatTemplate;
    refuseHead(parts.config, parts.name);
    checkVocabulary(parts);
  }

  /**
   * Loads a model by the path of a Hugging Face folder or GGUF file, or by its name on the hub, which is downloaded into the
   * standard cache first: `org/name`, and for one of its GGUF files `org/name:Q4_K_M` or the option `ggufFile`.
   */
  static async fromPretrained(
    nameOrFolder: string,
    given: DownloadModelOptions & LoadWeightsOptions = {},
  ): Promise<CausalLM> {
    const { folder, options } = await pretrainedFolder('CausalLM.fromPretrained', nameOrFolder, given);
    return CausalLM.load(folder, options);
  }

  /**
   * Loads a local Hugging Face folder (`config.json`, `*.safetensors`, tokenizer files) or a GGUF file, also when it is
   * the only one of a folder without a `config.json`.
   *
   * @throws NoModelFolderError when nothing is there, or an adapter; InvalidModelFileError, UnsupportedArchitectureError,
   * WeightMismatchError, ModelQuantizationError, HeadError, OptionError, and of GGUF files InvalidGgufError, UnsupportedGgufError
   */
  static async load(folder: string, given: LoadWeightsOptions = {}): Promise<CausalLM> {
    // The engine that is set now, whatever is set while files are read.
    const options = { engine: currentEngine(), ...given };
    await assertModelFolder('CausalLM.load', folder);
    const file = await findGguf(folder);
    if (file !== undefined) return CausalLM.#loadGguf(file, options);
    const { network, ...parts } = await loadModelFiles(folder, options, async (config) => {
      refuseHead(config, folder);
      return { generationConfig: await loadGenerationConfig(folder) };
    });
    return new CausalLM(parts, network);
  }

  static async #loadGguf(path: string, options: LoadWeightsOptions): Promise<CausalLM> {
    const { metadata, ...opened } = await openGgufModel(path);
    try {
      const tokenizer = ggufTokenizer(metadata);
      const chatTemplate = chatTemplateOf(tokenizer, path);
      const { config, weights, network } = await readWeights(opened, options);
      return new CausalLM({ config, weights, tokenizer, chatTemplate, name: path }, network);
    } finally {
      await opened.source.close();
    }
  }

  /**
   * A new model with random weights, from the distributions that transformers starts the family with: normal with `initializerRange`
   * (GPT-2's `c_proj` of both sublayers by 1 / √(2 · layers) less), biases zero, norms the identity, the padding token's embedding zero.
   *
   * @param seed the same seed gives the same weights
   */
  static async initialize(parts: Omit<CausalLMParts, 'weights'>, seed: number): Promise<CausalLM> {
    const network = networkOf(parts.config);
    return new CausalLM({ ...parts, weights: await initialWeights(network, seed) }, network);
  }

  /** The same model with other weights. */
  withWeights(weights: Weights, name: string = this.name): CausalLM {
    assertArgument('CausalLM.withWeights', 'weights', weights, isWeights(weights), WEIGHTS);
    return new CausalLM({ ...this.#parts(), weights, name }, this.network);
  }

  #parts(): CausalLMParts {
    const { config, weights, tokenizer, generationConfig, chatTemplate, name } = this;
    return { config, weights, tokenizer, generationConfig, chatTemplate, name };
  }

  /**
   * The same model with its linear layers quantised, and its output layer where the options say so (`CausalLM.load` does it
   * as it reads). `gptq`, `awq` and `smoothquant` have calibration rows, and the codes of `int4` (`smoothquant`: of `int8`).
   *
   * @throws ModelQuantizationError, QuantizationError, OptionError
   */
  async quantize(options: QuantizationOptions | CalibratedQuantizationOptions): Promise<CausalLM> {
    assertQuantization(options);
    if (isCalibrated(options)) {
      const { config, weights, quantized } = await quantizeCalibrated(this.network, this.weights, options);
      return new CausalLM({ ...this.#parts(), config, weights }, networkOf(config, quantized, this.engine));
    }
    const { weights, quantized } = await quantizeWeights(this.network, this.weights, options);
    const config = configQuantizedWith(this.config, this.network.modules.values(), options);
    return new CausalLM({ ...this.#parts(), config, weights }, networkOf(config, quantized, this.engine));
  }

  /**
   * The same model with a part of the weights of its linear layers zero (`wanda`, `sparsegpt`, `magnitude`).
   *
   * @throws ModelQuantizationError, QuantizationError, OptionError
   */
  async prune(options: PruneOptions): Promise<CausalLM> {
    return this.withWeights(await pruneWeights(this.network, this.weights, options));
  }

  /**
   * The same model with float32 weights: those that the codes stand for. An output layer that was tied before it was
   * quantised stays a weight of its own, so that the answers stay the same.
   */
  async dequantize(): Promise<CausalLM> {
    const { quantization: _, ...config } = this.config;
    const weights = await dequantizeWeights(this.network, this.weights);
    return new CausalLM({ ...this.#parts(), config, weights }, networkOf(config, undefined, this.engine));
  }

  /** What the model computes on: the engine that was set when it was made, or that of the loading options. */
  get engine(): Engine {
    return this.network.engine;
  }

  /** Memory of the weights. */
  get storage(): WeightStorage {
    return weightStorage(this.network, this.weights);
  }

  /** The ids that end a generation: those of generation_config.json, else of config.json, else the tokenizer's. */
  get endTokens(): ReadonlySet<number> {
    const listed = this.generationConfig?.eosTokenIds ?? this.config.eosTokenIds;
    if (listed.length > 0) return new Set(listed);
    return new Set(this.tokenizer.eosId === undefined ? [] : [this.tokenizer.eosId]);
  }

  /**
   * Writes a folder that `CausalLM.load` and `transformers` load. An error (a full disk, say) leaves the model that the
   * folder held before as it was.
   */
  async save(folder: string, options: SaveWeightsOptions = {}): Promise<void> {
    await saveModelFiles('CausalLM.save', folder, this, options);
  }
}

/** The templates in a tokenizer's own config; undefined when it has none. */
function chatTemplateOf(tokenizer: Tokenizer, path: string): ChatTemplate | undefined {
  const templates = parseChatTemplates(tokenizer.config.chat_template, path);
  return Object.keys(templates).length === 0 ? undefined : new ChatTemplate(tokenizer, templates);
}

/** @throws PosttrainError when the tokenizer has ids that the embedding has no rows for */
export function checkVocabulary({
  name,
  tokenizer,
  config,
}: Pick<CausalLMParts, 'name' | 'tokenizer' | 'config'>): void {
  if (tokenizer.vocabSize <= config.vocabSize) return;
  throw new PosttrainError(
    'VOCABULARY',
    `${name}: the tokenizer has ${tokenizer.vocabSize} ids but the embedding only ${config.vocabSize} rows`,
  );
}

function refuseHead({ head }: ModelConfig, name: string): void {
  if (!head) return;
  const loader = { 'sequence-classification': 'SequenceClassifier', 'token-classification': 'TokenClassifier' };
  const kind = head.task === 'value' ? 'a value head' : head.architecture;
  const use = head.task === 'value' ? 'ValueModel' : loader[head.task];
  throw new HeadError(`${name} is no causal language model: it holds ${kind}. Load it with ${use}.load.`);
}

/** New weights for a network, reproducible from the seed. */
export async function initialWeights(
  network: Pick<Network, 'parameters' | 'config' | 'engine'>,
  seed: number,
): Promise<Weights> {
  const key = Key.fromSeed(seed);
  const weights: Record<string, Tensor> = {};
  network.parameters.forEach(({ name, shape, init, initScale = 1, zeroRow }, i) => {
    if (init === 'zeros') weights[name] = zerosBuffer(shape);
    else if (init === 'ones') weights[name] = ones(shape);
    else if (typeof init === 'function') weights[name] = tensor(init(key.child(i)), shape);
    else {
      const size = shape.reduce((a, b) => a * b, 1);
      // As transformers, where the config says 0.
      const range = (network.config.initializerRange || 0.02) * initScale;
      const drawn = key
        .child(i)
        .normalHost(size)
        .map((x) => x * range);
      const width = size / shape[0]!;
      if (zeroRow !== undefined) drawn.fill(0, zeroRow * width, (zeroRow + 1) * width);
      weights[name] = tensor(drawn, shape);
    }
  });
  await realize(Object.values(weights), { engine: network.engine });
  return weights;
}
