import {
  type Compiled,
  compile,
  currentEngine,
  iota,
  layerNorm,
  nameScope,
  type Tensor,
  zeros,
} from '@posttrain/core-tensor';
import { type Given, type Options, options } from '@posttrain/interfaces';
import { ACTIVATIONS, type HiddenActivation } from '../config/common-config.js';
import { Fields } from '../config/fields.js';
import { type HeadConfig, parseHeadConfig } from '../config/head-config.js';
import { type ModernBertConfig, parseEncoderConfig } from '../config/index.js';
import { loadEncoderWeights } from '../embed/bert-encoder.js';
import { pool, textMask } from '../embed/pooling.js';
import { type JsonObject, readJsonObject } from '../files.js';
import { activations } from '../model/activations.js';
import { type Adapter, NO_ADAPTER, perAdapter } from '../model/adapter.js';
import { adapterOption } from '../model/adapter-option.js';
import type { EncoderNetwork } from '../model/encoder-network.js';
import { linearModules, type ParameterInfo } from '../model/family.js';
import { HeadError } from '../model/head.js';
import { applyLinear, type LayerHooks, type ModuleInfo, type Weights } from '../model/layers.js';
import { modernBertNetwork } from '../model/modernbert.js';
import { assertModelFolder } from '../model-folder.js';
import { checkSequences, maxTokensPerPass, passesOf } from '../score/passes.js';
import { Tokenizer } from '../tokenizer/index.js';

const POOLINGS = ['cls', 'mean'] as const;

/** An encoder with the head of transformers' `ModernBertForSequenceClassification`: classifier(LayerNorm(act(dense(pooled)))). */
export interface EncoderClassifierConfig extends ModernBertConfig {
  readonly head: HeadConfig;
  /** What the head reads: the state of the first token, or the mean of all. */
  readonly pooling: (typeof POOLINGS)[number];
  readonly headAct: HiddenActivation;
  /** Whether the dense layer has a bias. */
  readonly denseBias: boolean;
}

/**
 * Parses the `config.json` of a `ModernBertForSequenceClassification`.
 *
 * @param path named in errors
 * @throws HeadError for another class, InvalidModelFileError
 */
export function parseEncoderClassifierConfig(json: JsonObject, path = 'config.json'): EncoderClassifierConfig {
  const config = parseEncoderConfig(json, path);
  const head = parseHeadConfig(json, path);
  if (config.modelType !== 'modernbert' || head?.task !== 'sequence-classification') {
    const found = head ? head.architecture : `a ${config.modelType} without such a head`;
    throw new HeadError(`${path}: EncoderClassifier takes ModernBertForSequenceClassification, not ${found}.`);
  }
  const fields = new Fields(path, json);
  return {
    ...config,
    head,
    pooling: fields.oneOf('classifier_pooling', POOLINGS, 'cls'),
    headAct: fields.oneOf('classifier_activation', ACTIVATIONS, 'gelu'),
    denseBias: fields.boolean('classifier_bias', false),
  };
}

/** An encoder's network with its head's parameters and modules. */
export interface ClassifierNetwork extends EncoderNetwork {
  readonly config: EncoderClassifierConfig;
  /** Logits [b, labels] of rows whose last token that is no padding is `last` int32 [b]. */
  logits(weights: Weights, tokens: Tensor, last: Tensor, hooks?: LayerHooks): Tensor;
}

function classifierNetwork(config: EncoderClassifierConfig, engine = currentEngine()): ClassifierNetwork {
  const trunk = modernBertNetwork(config, engine);
  const { hiddenSize: width, head, denseBias } = config;
  const layers = [
    { name: 'head.dense', in: width, out: width, bias: denseBias },
    { name: 'classifier', in: width, out: head.labels.length, bias: true },
  ];
  const own = linearModules(layers, 0, { transposed: false }).map(
    (module): ModuleInfo => ({ ...module, kind: 'head', layer: undefined }),
  );
  const modules = new Map([...trunk.modules, ...own.map((module) => [module.name, module] as const)]);
  const norm: ParameterInfo[] = [
    { name: 'head.norm.weight', shape: [width], init: 'ones' },
    ...(config.biases.norm ? [{ name: 'head.norm.bias', shape: [width], init: 'zeros' as const }] : []),
  ];
  const linear = layers.flatMap((layer): ParameterInfo[] => [
    { name: `${layer.name}.weight`, shape: [layer.out, layer.in], init: 'normal' },
    ...(layer.bias ? [{ name: `${layer.name}.bias`, shape: [layer.out], init: 'zeros' as const }] : []),
  ]);
  return {
    ...trunk,
    config,
    modules,
    parameters: [...trunk.parameters, ...linear, ...norm],

    logits(weights, tokens, last, hooks = {}) {
      const apply = (x: Tensor, name: string): Tensor => {
        const [weight, bias] = [weights[`${name}.weight`]!, weights[`${name}.bias`]];
        const plain = (input: Tensor) => applyLinear(input, weight, bias, false);
        const info = modules.get(name)!;
        return nameScope(name, () =>
          hooks.linear ? hooks.linear(x, { ...info, weight, bias, apply: plain }) : plain(x),
        );
      };
      const [b, s] = tokens.shape as [number, number];
      const segments = textMask(b, s, last).not().cast('int32');
      const states = trunk.hidden(weights, { tokens, positions: iota([b, s], 1), segments }, hooks);
      const pooled = pool(states, last, config.pooling);
      const active = activations[config.headAct](apply(pooled, 'head.dense'));
      const bias = weights['head.norm.bias'] ?? zeros([width], active.dtype);
      const normed = layerNorm(active, weights['head.norm.weight']!, bias, { epsilon: config.layerNormEps });
      return apply(normed, 'classifier');
    },
  };
}

const shape = { adapter: adapterOption, maxTokensPerPass };
/** Options of a pass of `EncoderClassifier`. */
export type EncoderClassifierOptions = Given<Options<typeof shape>>;

type LogitsPass = Compiled<[weights: Weights, parameters: unknown, tokens: Tensor, last: Tensor], Tensor>;
const passOf = perAdapter(
  (network: ClassifierNetwork, adapter: Adapter): LogitsPass =>
    compile((weights, parameters, tokens, last) => network.logits(weights, tokens, last, adapter.hooks(parameters)), {
      name: 'encoder classifier',
    }),
);

/** A ModernBERT (arXiv 2412.13663) with a head for sequence classification, and its tokenizer. Immutable, as `CausalLM`. */
export class EncoderClassifier {
  readonly name: string;
  readonly network: ClassifierNetwork;
  readonly weights: Weights;
  readonly tokenizer: Tokenizer;

  constructor(parts: Pick<EncoderClassifier, 'name' | 'network' | 'weights' | 'tokenizer'>) {
    this.name = parts.name;
    this.network = parts.network;
    this.weights = parts.weights;
    this.tokenizer = parts.tokenizer;
  }

  /**
   * Loads a local Hugging Face folder of a `ModernBertForSequenceClassification`.
   *
   * @throws HeadError when it is of another class; InvalidModelFileError, WeightMismatchError
   */
  static async load(folder: string): Promise<EncoderClassifier> {
    await assertModelFolder('EncoderClassifier.load', folder);
    const { network, weights } = await loadEncoderClassifier(folder);
    return new EncoderClassifier({ name: folder, network, weights, tokenizer: await Tokenizer.load(folder) });
  }

  /** The outputs' names, in order. */
  get labels(): readonly string[] {
    return this.network.config.head.labels;
  }

  /** Logits of each text, one per label. @throws PosttrainError SEQUENCE_LENGTH for one that is too long */
  async classify(texts: readonly string[], given: EncoderClassifierOptions = {}): Promise<Float32Array[]> {
    return classifierLogits(
      this,
      texts.map((text) => this.tokenizer.encode(text)),
      given,
    );
  }
}

/** The network and weights of a folder. */
export async function loadEncoderClassifier(
  folder: string,
): Promise<{ readonly network: ClassifierNetwork; readonly weights: Weights }> {
  const path = `${folder}/config.json`;
  const network = classifierNetwork(parseEncoderClassifierConfig(await readJsonObject(path), path));
  return { network, weights: await loadEncoderWeights(folder, network) };
}

/** Logits of sequences of token ids, one per label; padding does not count. */
export async function classifierLogits(
  { network, weights }: { readonly network: ClassifierNetwork; readonly weights: Weights },
  sequences: readonly (readonly number[])[],
  given: EncoderClassifierOptions = {},
): Promise<Float32Array[]> {
  const { adapter = NO_ADAPTER, maxTokensPerPass: maxTokens } = options('EncoderClassifier', shape).read(given);
  const { vocabSize, maxPositionEmbeddings: longest, head } = network.config;
  checkSequences('EncoderClassifier', sequences, { shortest: 1, longest, vocabSize });
  const run = passOf(network, adapter);
  const results = new Array<Float32Array>(sequences.length);
  for (const pass of passesOf(sequences, { longest, maxTokens })) {
    const data = await (await run(weights, adapter.parameters, pass.tokens, pass.last)).data();
    const count = head.labels.length;
    pass.sequences.forEach((sequence, row) => {
      results[sequence] = Float32Array.from(data.subarray(row * count, (row + 1) * count));
    });
  }
  return results;
}
