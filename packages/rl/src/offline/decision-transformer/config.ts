import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import { type Gpt2Config, type JsonObject, parseModelConfig } from '@posttrain/lm';
import type { TrainableConfig } from '@posttrain/training';

/** Sizes of a Decision Transformer; see `DecisionTransformer.initialize` for their defaults. */
export interface DecisionTransformerConfig extends TrainableConfig {
  /** Numbers in a state. */
  readonly stateSize: number;
  /** Numbers in an action, or how many there are to choose from. */
  readonly actionSize: number;
  /**
   * Whether an action is one of `actionSize` choices, which the model gives logits of. transformers has vectors only.
   */
  readonly discrete: boolean;
  /** tanh of the actions that are predicted, as of torques within -1 and 1. */
  readonly actionTanh: boolean;
  /** Time steps are below this. */
  readonly maxEpisodeLength: number;
  /** The blocks. What it says of tokens is not read. */
  readonly gpt2: Gpt2Config;
}

/** A folder that holds no Decision Transformer, or another than its config says. Code `DECISION_TRANSFORMER`. */
export class DecisionTransformerError extends PosttrainError {
  constructor(where: string, problem: string) {
    super('DECISION_TRANSFORMER', `${where}: ${problem}`);
  }
}

const DEFAULTS = {
  state_dim: 17,
  act_dim: 4,
  hidden_size: 128,
  max_ep_len: 4096,
  n_positions: 1024,
  n_layer: 3,
  n_head: 1,
};

/**
 * The config of a `config.json` of transformers; keys that are left out are as there. @throws
 * DecisionTransformerError
 */
export function parseDecisionTransformerConfig(json: JsonObject, where = 'config.json'): DecisionTransformerConfig {
  const size = (name: keyof typeof DEFAULTS): number => {
    const value = json[name] ?? DEFAULTS[name];
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
    throw new DecisionTransformerError(where, `${name} is ${JSON.stringify(value)}, no positive whole number`);
  };
  const flag = (name: string, otherwise: boolean): boolean => {
    const value = json[name] ?? otherwise;
    if (typeof value === 'boolean') return value;
    throw new DecisionTransformerError(where, `${name} is ${JSON.stringify(value)}, not true or false`);
  };
  if (json.model_type !== undefined && json.model_type !== 'decision_transformer') {
    throw new DecisionTransformerError(
      where,
      `model_type is ${JSON.stringify(json.model_type)}, not "decision_transformer"`,
    );
  }
  const discrete = flag('discrete_actions', false);
  const { hidden_size: width, ...others } = { ...DEFAULTS, ...json, hidden_size: size('hidden_size') };
  const gpt2 = parseModelConfig({
    ...{ activation_function: 'relu', ...others },
    ...{ model_type: 'gpt2', n_embd: width, n_layer: size('n_layer'), n_head: size('n_head'), vocab_size: 1 },
    ...{
      n_positions: size('n_positions'),
      bos_token_id: null,
      eos_token_id: null,
      tie_word_embeddings: true,
      dtype: 'float32',
    },
  }) as Gpt2Config;
  return {
    gpt2,
    discrete,
    stateSize: size('state_dim'),
    actionSize: size('act_dim'),
    actionTanh: flag('action_tanh', true),
    maxEpisodeLength: size('max_ep_len'),
    hiddenSize: width,
    vocabSize: discrete ? size('act_dim') : 1,
    maxPositionEmbeddings: size('n_positions'),
  };
}

/** The `config.json` that transformers reads. `discrete_actions` is ours, which it keeps and does not read. */
export function decisionTransformerConfigToJson(config: DecisionTransformerConfig): JsonObject {
  const { gpt2 } = config;
  return {
    ...{ architectures: ['DecisionTransformerModel'], model_type: 'decision_transformer', dtype: 'float32' },
    ...{ state_dim: config.stateSize, act_dim: config.actionSize, max_ep_len: config.maxEpisodeLength },
    ...{
      action_tanh: config.actionTanh,
      discrete_actions: config.discrete,
      hidden_size: config.hiddenSize,
      vocab_size: 1,
    },
    ...{ n_positions: config.maxPositionEmbeddings, n_layer: gpt2.numHiddenLayers, n_head: gpt2.numAttentionHeads },
    ...{ n_inner: gpt2.intermediateSize, activation_function: gpt2.hiddenAct, layer_norm_epsilon: gpt2.layerNormEps },
    ...{ initializer_range: gpt2.initializerRange, resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 },
    ...{ bos_token_id: null, eos_token_id: null },
  };
}

/** Reads the config of a folder. @throws DecisionTransformerError; what reading a file throws */
export async function loadDecisionTransformerConfig(folder: string): Promise<DecisionTransformerConfig> {
  const path = join(folder, 'config.json');
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new DecisionTransformerError(path, `cannot be read as JSON: ${(cause as Error).message}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new DecisionTransformerError(path, 'is no object');
  return parseDecisionTransformerConfig(json as JsonObject, path);
}
