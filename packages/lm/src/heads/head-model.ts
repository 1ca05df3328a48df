import { type Compiled, compile, currentEngine, type Tensor } from '@posttrain/core-tensor';
import { assertArgument, type Given, type Options, options } from '@posttrain/interfaces';
import type { ChatTemplate } from '../chat-template/index.js';
import type { HeadConfig, HeadTask, ModelConfig } from '../config/index.js';
import type { DownloadModelOptions } from '../hub/index.js';
import { type Adapter, contextOf, NO_ADAPTER } from '../model/adapter.js';
import { adapterOption } from '../model/adapter-option.js';
import { type CausalLM, checkVocabulary, initialWeights } from '../model/causal-lm.js';
import { HeadError } from '../model/head.js';
import { isWeights, WEIGHTS, type Weights } from '../model/layers.js';
import { loadModelFiles, pretrainedFolder, saveModelFiles } from '../model/model-files.js';
import type { Network } from '../model/network.js';
import { networkOf } from '../model/network-of.js';
import { type WeightStorage, weightStorage } from '../model/quantize.js';
import { isQuantized } from '../model/quantized-layer.js';
import type { LoadWeightsOptions, SaveWeightsOptions } from '../model/weights.js';
import { assertModelFolder } from '../model-folder.js';
import { checkSequences, maxTokensPerPass, type Pass, passesOf } from '../score/passes.js';
import type { Tokenizer } from '../tokenizer/index.js';

/** The parts of a model whose outputs are a head's and not the next token's. */
export interface HeadModelParts {
  readonly config: ModelConfig;
  readonly network: Network;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate?: ChatTemplate | undefined;
  /** For reports. */
  readonly name: string;
}

const headScoringShape = {
  adapter: adapterOption,
  /** Most tokens, padding included, that one pass holds; a longer sequence has a pass of its own. Default 4096. */
  maxTokensPerPass,
};
/** Options of a forward pass through a model with a head. */
export type HeadScoringOptions = Given<Options<typeof headScoringShape>>;

/** Options of loading a model with a head from a folder or from the hub. */
export type HeadLoadOptions = Omit<DownloadModelOptions, 'ggufFile'> & LoadWeightsOptions;

/** A kind of head model: its constructor, with the tasks whose heads it takes. */
interface HeadModelClass<Model> {
  readonly tasks: readonly HeadTask[];
  new (parts: HeadModelParts): Model;
}

/** What classifiers, reward and value models have in common: a decoder's trunk with a head, in a Hugging Face folder. */
export abstract class HeadModel implements HeadModelParts {
  readonly name: string;
  readonly config: ModelConfig;
  readonly network: Network;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | undefined;
  readonly head: HeadConfig;

  constructor(parts: HeadModelParts) {
    const { tasks } = this.constructor as HeadModelClass<this>;
    this.name = parts.name;
    this.config = parts.config;
    this.network = parts.network;
    this.weights = parts.weights;
    this.tokenizer = parts.tokenizer;
    this.chatTemplate = parts.chatTemplate;
    this.head = checkHead(parts.config, tasks, parts.name);
    checkVocabulary(parts);
  }

  /** Loads a local Hugging Face folder. @throws HeadError when it has no such head, and what `loadWeights` throws */
  static async load<Model>(
    this: HeadModelClass<Model>,
    folder: string,
    options: LoadWeightsOptions = {},
  ): Promise<Model> {
    // biome-ignore lint/complexity/noThisInStatic: the class that was asked for
    return new this(await loadHeadParts(folder, options, this.tasks));
  }

  /** Loads a folder, or a model of the hub by its name. */
  static async fromPretrained<Model>(
    this: HeadModelClass<Model>,
    nameOrFolder: string,
    given: HeadLoadOptions = {},
  ): Promise<Model> {
    const { folder, options } = await pretrainedFolder('fromPretrained', nameOrFolder, given);
    // biome-ignore lint/complexity/noThisInStatic: the class that was asked for
    return new this(await loadHeadParts(folder, options, this.tasks));
  }

  /** The same model with other weights. */
  withWeights(weights: Weights, name: string = this.name): this {
    assertArgument(`${this.constructor.name}.withWeights`, 'weights', weights, isWeights(weights), WEIGHTS);
    const { config, network, tokenizer, chatTemplate } = this;
    const parts = { config, network, tokenizer, chatTemplate, weights, name };
    return new (this.constructor as HeadModelClass<this>)(parts);
  }

  /** The outputs' names, in order. */
  get labels(): readonly string[] {
    return this.head.labels;
  }

  /** What the weights take. */
  get storage(): WeightStorage {
    return weightStorage(this.network, this.weights);
  }

  /**
   * Writes a folder that `load` and `transformers` load. An error (a full disk, say) leaves the model that the folder held
   * before as it was.
   */
  async save(folder: string, options: SaveWeightsOptions = {}): Promise<void> {
    await saveModelFiles(`${this.constructor.name}.save`, folder, this, options);
  }
}

function checkHead({ head }: ModelConfig, tasks: readonly HeadTask[], name: string): HeadConfig {
  if (head && tasks.includes(head.task)) return head;
  const found = head ? `a head for ${head.task}` : 'no head';
  const advice = head ? '' : ' A causal language model gets one with fromCausalLM.';
  throw new HeadError(`${name} has ${found}, where one for ${tasks.join(' or ')} is needed.${advice}`);
}

async function loadHeadParts(
  folder: string,
  given: LoadWeightsOptions,
  tasks: readonly HeadTask[],
): Promise<HeadModelParts> {
  // The engine that is set now, whatever is set while files are read.
  const options = { engine: currentEngine(), ...given };
  await assertModelFolder('load', folder);
  return loadModelFiles(folder, options, async (config) => {
    // TRL's value head is not in the config: it is seen when the weights are opened.
    if (config.head || !tasks.includes('value')) checkHead(config, tasks, folder);
    return {};
  });
}

/** How the quantised modules of a network are stored, for another network over the same weights. */
export const quantizedFormats = ({ modules }: Pick<Network, 'modules'>) =>
  new Map([...modules.values()].filter(isQuantized).map((module) => [module.name, module.quantization] as const));

/**
 * A causal language model's trunk with a new head: weights normal with `initializerRange`, biases zero, as transformers
 * starts them. The trunk's tensors are shared.
 */
export async function withNewHead(model: CausalLM, head: HeadConfig, seed: number): Promise<HeadModelParts> {
  const { tokenizer, chatTemplate, name } = model;
  // transformers finds the last token of a padded row by this id.
  const padTokenId = model.config.padTokenId ?? tokenizer.padId;
  const config = { ...model.config, padTokenId, head };
  const network = networkOf(config, quantizedFormats(model.network), model.engine);
  const parameters = network.parameters.filter((parameter) => parameter.name.startsWith(`${head.module}.`));
  const added = await initialWeights({ parameters, config, engine: model.engine }, seed);
  const trunk = Object.entries(model.weights).filter(
    ([weight]) => head.task === 'value' || !weight.startsWith('lm_head.'),
  );
  return { config, network, weights: { ...Object.fromEntries(trunk), ...added }, tokenizer, chatTemplate, name };
}

type HeadPass = Compiled<[weights: Weights, parameters: unknown, tokens: Tensor, last: Tensor], Tensor>;

/** A compiled forward pass of a head model, for `perAdapter`. */
export const compileHeadPass = (
  name: string,
  adapter: Adapter,
  run: (weights: Weights, hooks: ReturnType<Adapter['hooks']>, tokens: Tensor, last: Tensor) => Tensor,
): HeadPass =>
  compile((weights, parameters, tokens, last) => run(weights, adapter.hooks(parameters), tokens, last), { name });

/** Runs sequences of any mix of lengths; `read` is given each pass's output and puts it where it belongs. */
export async function runHead(
  where: string,
  { network, weights }: Pick<HeadModelParts, 'network' | 'weights'>,
  sequences: readonly (readonly number[])[],
  given: HeadScoringOptions,
  passOf: (network: Network, adapter: Adapter) => HeadPass,
  read: (output: ArrayLike<number>, pass: Pass) => void,
): Promise<void> {
  const { adapter = NO_ADAPTER, ...settings } = options(where, headScoringShape).read(given);
  const { vocabSize } = network.config;
  const longest = contextOf(network.config, adapter);
  checkSequences(where, sequences, { shortest: 1, longest, vocabSize });
  const run = passOf(network, adapter);
  for (const pass of passesOf(sequences, { longest, maxTokens: settings.maxTokensPerPass })) {
    const output = await run(weights, adapter.parameters, pass.tokens, pass.last);
    read(await output.data(), pass);
  }
}
