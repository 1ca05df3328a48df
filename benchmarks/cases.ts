/** What is measured: the shapes, the model configurations, and how near the two sides' numbers must be. */

import type { QuantizationOptions } from '@posttrain/lm';
import { stepFlops } from './flops.js';

export const MODEL_NAMES = ['10m', '135m'] as const;
export type ModelName = 'tiny' | (typeof MODEL_NAMES)[number];

/** The fields of config.json that flops.ts counts with, and the others. */
export interface ModelConfig extends Readonly<Record<string, unknown>> {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
}

/** config.json of the models, which have random weights. */
export const MODEL_CONFIGS: Readonly<Record<ModelName, ModelConfig>> = {
  tiny: {
    model_type: 'llama',
    vocab_size: 512,
    hidden_size: 64,
    intermediate_size: 176,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    max_position_embeddings: 128,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
    initializer_range: 0.125,
  },
  // 9,999,680 parameters.
  '10m': {
    model_type: 'llama',
    vocab_size: 4096,
    hidden_size: 320,
    intermediate_size: 704,
    num_hidden_layers: 8,
    num_attention_heads: 5,
    num_key_value_heads: 5,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
    initializer_range: 0.041666666666666664,
  },
  // The shape of SmolLM2-135M: 134,515,008 parameters.
  '135m': {
    model_type: 'llama',
    vocab_size: 49_152,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 100_000,
    tie_word_embeddings: true,
    initializer_range: 0.041666666666666664,
  },
};

export const TASK_NAMES = ['matmul', 'sft', 'full', 'overhead', 'head', 'generate'] as const;
export type TaskName = (typeof TASK_NAMES)[number];

/** How the peer runs its model: as it comes, or through `torch.compile`. */
export const PEERS = ['eager', 'compiled'] as const;
export type Peer = (typeof PEERS)[number];

/** Sent to both sides, with the kind of peer; its fields are all they know of a task. */
export type TaskSettings =
  | { readonly task: 'matmul'; readonly file: string; readonly cases: readonly MatmulCase[] }
  | {
      readonly task: 'sft';
      readonly model: string;
      readonly config: ModelConfig;
      readonly adapter: string;
      /** What the base is stored in; the peer has none of it. */
      readonly quantization?: QuantizationOptions;
      readonly cases: readonly SftCase[];
    }
  | {
      readonly task: 'full' | 'overhead';
      readonly model: string;
      readonly config: ModelConfig;
      readonly cases: readonly StepCase[];
    }
  | { readonly task: 'head'; readonly file: string; readonly cases: readonly HeadCase[] }
  | {
      readonly task: 'generate';
      readonly model: string;
      readonly quantization?: QuantizationOptions;
      readonly cases: readonly GenerateCase[];
    };

type SettingsOf<Task extends TaskName> = Extract<TaskSettings, { readonly task: Task }>;

export interface MatmulCase {
  readonly name: string;
  readonly size: number;
  /** Products in one measurement. */
  readonly calls: number;
}

/** Training steps on one batch of rows of equal length, in which every token but the first is trained. */
export interface StepCase {
  readonly name: string;
  readonly learningRate: number;
  readonly rows: readonly (readonly number[])[];
  /** Steps in one measurement. */
  readonly calls: number;
}

export interface SftCase extends StepCase {
  readonly rank: number;
}

/** The loss of hidden states against the head, and its gradient. */
export interface HeadCase {
  readonly name: string;
  readonly rows: number;
  readonly width: number;
  readonly vocabulary: number;
  readonly targets: readonly number[];
  /** The gradient of the head too, or of the hidden states only, as adapters need it. */
  readonly trainsHead: boolean;
}

export interface GenerateCase {
  readonly name: string;
  /** Of the first call; every later call adds 1 to their tokens, so that no side finds a prompt in a cache. */
  readonly prompts: readonly (readonly number[])[];
  readonly newTokens: number;
  readonly vocabulary: number;
}

/** Largest difference of the two sides' numbers, relative to the larger of 1 and the number. */
export const TOLERANCES: Readonly<Record<TaskName, number>> = {
  matmul: 1e-4,
  sft: 1e-4,
  full: 1e-4,
  overhead: 1e-4,
  head: 1e-4,
  generate: 0,
};

/** What the numbers of a task are, for messages and tables. */
export const NUMBERS: Readonly<Record<TaskName, string>> = {
  matmul: 'entries of the product',
  sft: 'loss of each step',
  full: 'loss of each step',
  overhead: 'loss of each step',
  head: 'loss and entries of the gradient',
  generate: 'tokens',
};

/** What one measurement does. */
export interface Work {
  readonly amount: number;
  readonly unit: string;
  /** Floating-point operations in matrix products, in 10⁹; absent: not counted. */
  readonly gigaflops?: number;
}

export function workOf(settings: TaskSettings, index: number): Work {
  switch (settings.task) {
    case 'matmul': {
      const { size, calls } = settings.cases[index]!;
      const gigaflops = (2 * size ** 3 * calls) / 1e9;
      return { amount: gigaflops, unit: 'GFLOP/s', gigaflops };
    }
    case 'sft':
    case 'full': {
      const step = settings.cases[index]!;
      const rank = settings.task === 'sft' ? settings.cases[index]!.rank : undefined;
      const flops = stepFlops(settings.config, { rows: step.rows.length, tokens: step.rows[0]!.length, rank });
      return {
        amount: step.rows.flat().length * step.calls,
        unit: 'tokens/s',
        gigaflops: (flops * step.calls) / 1e9,
      };
    }
    case 'overhead':
      return { amount: settings.cases[index]!.calls, unit: 'steps/s' };
    case 'head': {
      const { rows, width, vocabulary, trainsHead } = settings.cases[index]!;
      const product = 2 * rows * width * vocabulary;
      return { amount: rows, unit: 'rows/s', gigaflops: ((trainsHead ? 3 : 2) * product) / 1e9 };
    }
    case 'generate': {
      const { prompts, newTokens } = settings.cases[index]!;
      return { amount: prompts.length * newTokens, unit: 'new tokens/s' };
    }
  }
}

/** Tokens that repeat from run to run: a linear congruential generator (Numerical Recipes' constants). */
export function randomTokens(rows: number, length: number, vocabulary: number): number[][] {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabulary);
  };
  return Array.from({ length: rows }, () => Array.from({ length }, next));
}

const MATMUL_CALLS: Readonly<Record<number, number>> = { 512: 40, 1024: 6, 2048: 1 };

export function matmulSettings(file: string, quick: boolean): SettingsOf<'matmul'> {
  const cases = Object.entries(MATMUL_CALLS)
    .map(([size, calls]) => ({ name: `${size} × ${size}`, size: Number(size), calls }))
    .filter(({ size }) => !quick || size <= 1024);
  return { task: 'matmul', file, cases };
}

export function sftSettings(name: ModelName, folder: string): TaskSettings {
  const config = MODEL_CONFIGS[name];
  const rows = randomTokens(4, 256, config.vocab_size);
  const step: SftCase = { name: 'batch 4 × 256', rank: 16, learningRate: 1e-3, rows, calls: 1 };
  return { task: 'sft', model: folder, config, adapter: `${folder}-adapter`, cases: [step] };
}

export function fullSettings(name: ModelName, folder: string): TaskSettings {
  const config = MODEL_CONFIGS[name];
  const rows = randomTokens(4, 256, config.vocab_size);
  const step: StepCase = { name: 'batch 4 × 256', learningRate: 1e-4, rows, calls: 1 };
  return { task: 'full', model: folder, config, cases: [step] };
}

/** A model so small that what is measured is what a step costs beside its arithmetic. */
export function overheadSettings(folder: string): TaskSettings {
  const config = MODEL_CONFIGS.tiny;
  const rows = randomTokens(1, 16, config.vocab_size);
  const step: StepCase = { name: 'batch 1 × 16, 50 steps', learningRate: 1e-4, rows, calls: 50 };
  return { task: 'overhead', model: folder, config, cases: [step] };
}

/** One case a process, so that its peak memory is its own. */
export function headSettings(file: string, quick: boolean): SettingsOf<'head'>[] {
  const shape = quick ? { rows: 1024, width: 320, vocabulary: 4096 } : { rows: 1024, width: 576, vocabulary: 49_152 };
  const [targets] = randomTokens(1, shape.rows, shape.vocabulary);
  return [false, true].map((trainsHead) => {
    const name = `[${shape.rows}, ${shape.width}] × [${shape.vocabulary}, ${shape.width}], gradient of ${trainsHead ? 'both' : 'the left'}`;
    return { task: 'head', file, cases: [{ name, ...shape, targets: [...targets!], trainsHead }] };
  });
}

export function generateSettings(
  name: ModelName,
  folder: string,
  { batches, newTokens }: { readonly batches: readonly number[]; readonly newTokens: number },
): TaskSettings {
  const vocabulary = MODEL_CONFIGS[name].vocab_size;
  const cases = batches.map((batch) => ({
    name: `batch ${batch}, 64 + ${newTokens} tokens`,
    prompts: randomTokens(batch, 64, vocabulary),
    newTokens,
    vocabulary,
  }));
  return { task: 'generate', model: folder, cases };
}
