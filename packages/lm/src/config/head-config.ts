import type { JsonObject } from '../files.js';
import { Fields } from './fields.js';

/** What the outputs of a head are for: one row per sequence, or one per token. */
export type HeadTask = 'sequence-classification' | 'token-classification' | 'value';

const PROBLEM_TYPES = ['regression', 'single_label_classification', 'multi_label_classification'] as const;
/** A `problem_type` of config.json: how a classifier's logits become probabilities. */
export type ProblemType = (typeof PROBLEM_TYPES)[number];

/** A head of its own on a decoder's final hidden states, in place of the output layer (or, for `v_head`, beside it). */
export interface HeadConfig {
  readonly task: HeadTask;
  /** The class that `config.json` names, such as `LlamaForSequenceClassification`. */
  readonly architecture: string;
  /**
   * Module path: `score`, `classifier` (token classification of GPT-2 and its like), or `v_head.summary` (TRL's
   * `AutoModelForCausalLMWithValueHead`, which keeps the output layer).
   */
  readonly module: string;
  /** The outputs' names, in order (`id2label`). */
  readonly labels: readonly string[];
  readonly bias: boolean;
  /** Linear, ReLU, Linear (Qwen2.5-Math-RM and -PRM, arXiv 2501.07301) instead of one linear layer. */
  readonly hiddenLayer: boolean;
  readonly problemType?: ProblemType;
}

/** `AutoModelForCausalLMWithValueHead` stores its head under this path. */
export const VALUE_HEAD = 'v_head.summary';

/** The task that the name of a class stands for; undefined for causal models and what has no head of this kind. */
function taskOf(architecture: string): HeadTask | undefined {
  if (/For(SequenceClassification|RewardModel)$/.test(architecture)) return 'sequence-classification';
  return /For(TokenClassification|ProcessRewardModel)$/.test(architecture) ? 'token-classification' : undefined;
}

/** The head that `config.json` names; undefined for a causal language model. */
export function parseHeadConfig(json: JsonObject, path: string): HeadConfig | undefined {
  const architecture: unknown = Array.isArray(json.architectures) ? json.architectures[0] : undefined;
  const task = typeof architecture === 'string' ? taskOf(architecture) : undefined;
  if (typeof architecture !== 'string' || !task) return undefined;
  const fields = new Fields(path, json);
  const problem = fields.raw('problem_type');
  return {
    task,
    architecture,
    module: headModuleOf(architecture),
    labels: parseLabels(fields),
    bias: task === 'token-classification' && fields.boolean('token_classification_bias', true),
    hiddenLayer: /RewardModel$/.test(architecture),
    ...(problem !== undefined && { problemType: fields.oneOf('problem_type', PROBLEM_TYPES) }),
  };
}

const headModuleOf = (architecture: string): string =>
  /^(GPT2|GPTNeoX|Falcon|Bloom)ForTokenClassification$/.test(architecture) ? 'classifier' : 'score';

const MOST_LABELS = 1_000_000;

/** transformers writes `id2label` unless there are two labels without names. */
function parseLabels(fields: Fields): readonly string[] {
  const named = fields.object('id2label');
  if (named === undefined) return defaultLabels(fields.size('num_labels', 2, MOST_LABELS));
  const labels = Object.keys(named).map((_, i) => named[String(i)]);
  if (labels.length === 0 || !labels.every((label) => typeof label === 'string')) {
    fields.fail('id2label', 'an object of labels with the keys "0", "1", …');
  }
  return labels as string[];
}

/** Default label names of transformers. */
export const defaultLabels = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `LABEL_${i}`);

/**
 * The head that a new classifier of this causal architecture has, as transformers would make it: `LlamaForCausalLM` →
 * `LlamaForSequenceClassification` with `score`.
 */
export function classifierHead(
  causalArchitecture: string,
  task: Exclude<HeadTask, 'value'>,
  labels: readonly string[],
): HeadConfig {
  // Gemma 3's own name is that of the model with pictures.
  const base = causalArchitecture.replace(/(ForCausalLM|LMHeadModel)$/, '').replace(/^Gemma3$/, 'Gemma3Text');
  const architecture = `${base}${task === 'sequence-classification' ? 'ForSequenceClassification' : 'ForTokenClassification'}`;
  return {
    ...{ task, architecture, module: headModuleOf(architecture), labels },
    ...{ bias: task === 'token-classification', hiddenLayer: false },
  };
}

/** The head of a folder as its tensors are: whether there is a bias, a hidden layer, or TRL's value head. */
export function storedHead(
  config: { readonly head?: HeadConfig },
  names: { has(name: string): boolean },
): HeadConfig | undefined {
  const { head } = config;
  if (!head) return names.has(`${VALUE_HEAD}.weight`) ? valueHead(names.has(`${VALUE_HEAD}.bias`)) : undefined;
  const hiddenLayer = names.has(`${head.module}.0.weight`);
  return { ...head, hiddenLayer, bias: names.has(`${head.module}${hiddenLayer ? '.2' : ''}.bias`) };
}

/** TRL's value head. */
export function valueHead(bias = true): HeadConfig {
  const labels = defaultLabels(1);
  return { task: 'value', architecture: '', module: VALUE_HEAD, labels, bias, hiddenLayer: false };
}

/** What `config.json` says of a head. */
export function headConfigToJson(head: HeadConfig): JsonObject {
  if (head.task === 'value') return {};
  const { architecture, labels, problemType, task, bias } = head;
  return {
    architectures: [architecture],
    id2label: Object.fromEntries(labels.map((label, i) => [i, label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    ...(problemType !== undefined && { problem_type: problemType }),
    ...(task === 'token-classification' && !bias && { token_classification_bias: false }),
  };
}
