import { stopGradient, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import { custom, number, oneOf, type Read, showValue, text } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import { methodOptions, orNull, targetOptions } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { PROMPT_EMBEDDINGS, promptFacts, promptPlan } from './prompt-learning.js';

const isWholes = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((entry) => Number.isSafeInteger(entry) && entry >= 0);
const wholes = () => orNull(custom<readonly number[]>()('a list of whole numbers', isWholes, { default: [0] }));

const cptOptions = methodOptions('CPT', {
  /** Positions before every sequence: as many as `cptTokenIds`, which say it. Default: null. */
  numVirtualTokens: orNull(number({ min: 1 })),
  /** Tokens of the context, whose embeddings the virtual tokens start from. Default: null, PEFT's, the token 0. */
  cptTokenIds: wholes(),
  /** For the file; PEFT reads it nowhere. Default: null, PEFT's, ones. */
  cptMask: wholes(),
  /**
   * What each token of the context is: 4k + 1 of the template of an input, 4k + 2 of an input, 4k + 3 of the template of a label,
   * 4k + 4 of the label of the k-th example, which `sft` learns; 0: none of them. Default: null, PEFT's, ones.
   */
  cptTokensTypeMask: wholes(),
  /** Weights of the labels in the context: all the same, or smaller for earlier ones. Default `none`. */
  optWeightedLossType: oneOf(['none', 'decay'], { default: 'none' }),
  /** What the weights of a label are multiplied with for each label after it, with `decay`. Default 1. */
  optLossDecayFactor: number({ default: 1 }),
  /** Radius ε of the ball that the change of an input token stays in, for a width of 2048. Default 0.1. */
  optProjectionEpsilon: number({ default: 0.1, min: 0 }),
  /** The same of a token of a template. Default 0.1. */
  optProjectionFormatEpsilon: number({ default: 0.1, min: 0 }),
  /** Where the tokens came from, for the file. Default: none. */
  tokenizerNameOrPath: orNull(text({})),
  /** Modules trained whole, as copies: paths or dotted endings. Default: none. */
  modulesToSave: targetOptions.modulesToSave,
});
/** Options of `cpt`, complete, by PEFT's names in camel case. */
export type CptConfig = Read<typeof cptOptions>;

const DELTA = 'delta_embedding.weight';
const EMBEDDING = 'embedding.weight';

/** The width that ε is meant for, and what is left to a token that is not trained. */
const [REFERENCE_WIDTH, LEAST] = [2048, 1e-10];

/** Below every norm that is not zero, so that a ball of radius 0 divides nothing by nothing. */
const SMALLEST = 1e-30;

/**
 * Context-aware prompt tuning (CPT, arXiv 2410.17222): the virtual tokens are the embeddings E [v, width] of the tokens of a context
 * (examples) and a trained change δ [v, width], each row of which stays in a ball: ‖δ_i‖ ≤ ε_i √(width / 2048), with ε of an input or
 * of a template. It starts as the model with the context before every sequence. As in PEFT, δ is put back into the balls before
 * it is used, the gradient is that at the place where it is put, and rows of labels and of nothing have none.
 *
 * `sft` learns the labels inside the context (types 4k + 4) beside those of every row, as PEFT's loss does, where the last type is that of a label. Where
 * it is another, PEFT leaves the labels of the rows out, and this does not. Other trainers have no labels, and so none of the context.
 *
 * Files have E + δ. An adapter of a file has that as its E, and δ = 0, as PEFT trains it further.
 */
export const cpt: PeftMethod<CptConfig> = {
  peftType: 'CPT',
  options: cptOptions,
  fileDefaults: {},
  factNames: promptFacts.names,
  facts: ({ model }) => promptFacts.of(model, { width: model.hiddenSize, heads: model.numAttentionHeads }),

  plan(model, given, strictness) {
    const cptTokenIds = given.cptTokenIds ?? [0];
    const ones = cptTokenIds.map(() => 1);
    const { cptMask = ones, cptTokensTypeMask = ones } = {
      ...(given.cptMask && { cptMask: given.cptMask }),
      ...(given.cptTokensTypeMask && { cptTokensTypeMask: given.cptTokensTypeMask }),
    };
    const count = cptTokenIds.length;
    const numVirtualTokens = given.numVirtualTokens ?? count;
    for (const [name, length] of Object.entries({
      ...{ cptMask: cptMask.length, cptTokensTypeMask: cptTokensTypeMask.length, numVirtualTokens },
    })) {
      if (length === count) continue;
      throw new AdapterConfigError(`${name} is of ${length} tokens, and there are ${count} cptTokenIds`);
    }
    const { vocabSize } = model.config;
    const wrong = cptTokenIds.find((id) => id >= vocabSize);
    if (wrong !== undefined)
      throw new AdapterConfigError(`cptTokenIds: ${showValue(wrong)} is no token id of the model`);
    return promptPlan(model, { ...given, cptTokenIds, cptMask, cptTokensTypeMask, numVirtualTokens }, strictness);
  },

  parameters: ({ config, model }) => config.numVirtualTokens! * model.hiddenSize,

  init({ config, model }, base) {
    const ids = tensor(Int32Array.from(config.cptTokenIds!));
    return {
      trained: { [DELTA]: zeros([config.numVirtualTokens!, model.hiddenSize]) },
      frozen: { [EMBEDDING]: base.network.asVirtualTokens(base.weights, ids) },
    };
  },

  toFile: ({ config }, tensors) => ({ [PROMPT_EMBEDDINGS]: virtualTokensOf(tensors, config) }),
  fromFile: (_, { [PROMPT_EMBEDDINGS]: stored }, { trained }) => ({
    trained: { [DELTA]: zeros(trained[DELTA]!.shape) },
    frozen: { [EMBEDDING]: stored! },
  }),
  fileKey: promptFacts.fileKey,
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,

  contextLabels: ({ cptTokenIds, ...config }) => {
    const weights = labelWeights(config);
    return weights.some((weight) => weight !== 0) ? { tokens: cptTokenIds!, weights } : undefined;
  },

  hooks: ({ config }, tensors) => ({ virtualTokens: virtualTokensOf(tensors, config) }),

  // PEFT writes what it has put back into the balls over δ, and steps from there.
  optimizer: (inner, config) => ({
    ...inner,
    update: (parameters, ...rest: Rest) => inner.update(projectedIn(parameters, config), ...rest),
  }),
};

/** What each token of the context counts as a label: with `decay` f^k, k being the labels after its own, the row's among them. */
function labelWeights({
  cptTokensTypeMask: types,
  optWeightedLossType,
  optLossDecayFactor,
}: Omit<CptConfig, 'cptTokenIds'>): number[] {
  const labels = [...new Set(types!.filter(isLabel))].sort((a, b) => b - a);
  return types!.map((type, i) => {
    // Nothing stands before the first.
    if (i === 0 || !isLabel(type)) return 0;
    return optWeightedLossType === 'decay' ? optLossDecayFactor ** (1 + labels.indexOf(type)) : 1;
  });
}

const isLabel = (type: number): boolean => type > 0 && type % 4 === 0;

type Rest = Parameters<Optimizer<object>['update']> extends [unknown, ...infer Others] ? Others : never;

function projectedIn(parameters: Named, config: CptConfig): Named {
  const delta = parameters[DELTA];
  return delta ? { ...parameters, [DELTA]: projected(delta, config) } : parameters;
}

/** E + δ, where the gradient of δ is that of its projection, and zero in rows that are not trained. */
function virtualTokensOf(
  { trained, frozen }: { readonly trained: Named; readonly frozen: Named },
  config: CptConfig,
): Tensor {
  const delta = trained[DELTA]!;
  const isTrained = config.cptTokensTypeMask!.map((type) => (type % 4 === 0 ? 0 : 1));
  const free = delta.mul(tensor(isTrained, [isTrained.length, 1]).cast(delta.dtype));
  return frozen[EMBEDDING]!.add(stopGradient(projected(delta, config))).add(free.sub(stopGradient(free)));
}

/** δ with every row in its ball. */
function projected(delta: Tensor, config: CptConfig): Tensor {
  const { cptTokensTypeMask: types, optProjectionEpsilon, optProjectionFormatEpsilon } = config;
  const scale = Math.sqrt(delta.shape[1]! / REFERENCE_WIDTH);
  const radii = types!.map((type) => {
    if (type % 4 === 0) return LEAST;
    return (type % 4 === 2 ? optProjectionEpsilon : optProjectionFormatEpsilon) * scale;
  });
  const radius = tensor(radii, [radii.length, 1]);
  // The smallest radius is nothing in half precision.
  const whole = delta.cast('float32');
  const norm = whole.square().sum(1, { keepDims: true }).sqrt();
  return whole.mul(radius.div(norm.maximum(radius.maximum(SMALLEST)))).cast(delta.dtype);
}
