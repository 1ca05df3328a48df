/** What is measured: the shapes, the model configurations, and how near the two sides' numbers must be. */

export const MODEL_NAMES = ['10m', '135m'] as const;
export type ModelName = (typeof MODEL_NAMES)[number];

/** config.json of the models, which have random weights. */
export const MODEL_CONFIGS: Readonly<Record<ModelName, Readonly<Record<string, unknown>>>> = {
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

export const TASK_NAMES = ['matmul', 'sft', 'generate'] as const;
export type TaskName = (typeof TASK_NAMES)[number];

/** Sent to both sides; its fields are all they know of a task. */
export type TaskSettings =
  | { readonly task: 'matmul'; readonly file: string; readonly cases: readonly MatmulCase[] }
  | { readonly task: 'sft'; readonly model: string; readonly adapter: string; readonly cases: readonly SftCase[] }
  | { readonly task: 'generate'; readonly model: string; readonly cases: readonly GenerateCase[] };

export interface MatmulCase {
  readonly name: string;
  readonly size: number;
  /** Products in one measurement. */
  readonly calls: number;
}

export interface SftCase {
  readonly name: string;
  readonly rank: number;
  readonly learningRate: number;
  readonly rows: readonly (readonly number[])[];
}

export interface GenerateCase {
  readonly name: string;
  readonly prompts: readonly (readonly number[])[];
  readonly newTokens: number;
}

/** Largest difference of the two sides' numbers, relative to the larger of 1 and the number. */
export const TOLERANCES: Readonly<Record<TaskName, number>> = { matmul: 1e-4, sft: 1e-4, generate: 0 };

/** What the numbers of a task are, for messages and tables. */
export const NUMBERS: Readonly<Record<TaskName, string>> = {
  matmul: 'entries of the product',
  sft: 'loss of each step',
  generate: 'tokens',
};

/** Work of one measurement, as a rate a reader knows: units and their name. */
export function workOf(settings: TaskSettings, index: number): { readonly amount: number; readonly unit: string } {
  switch (settings.task) {
    case 'matmul': {
      const { size, calls } = settings.cases[index]!;
      return { amount: (2 * size ** 3 * calls) / 1e9, unit: 'GFLOP/s' };
    }
    case 'sft':
      return { amount: settings.cases[index]!.rows.flat().length, unit: 'tokens/s' };
    case 'generate': {
      const { prompts, newTokens } = settings.cases[index]!;
      return { amount: prompts.length * newTokens, unit: 'new tokens/s' };
    }
  }
}

/** Tokens that repeat from run to run: a linear congruential generator (Numerical Recipes' constants). */
function randomTokens(rows: number, length: number, vocabulary: number): number[][] {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabulary);
  };
  return Array.from({ length: rows }, () => Array.from({ length }, next));
}

const MATMUL_CALLS: Readonly<Record<number, number>> = { 512: 40, 1024: 6, 2048: 1 };

export function matmulSettings(file: string, quick: boolean): TaskSettings {
  const cases = Object.entries(MATMUL_CALLS)
    .map(([size, calls]) => ({ name: `${size} × ${size}`, size: Number(size), calls }))
    .filter(({ size }) => !quick || size <= 1024);
  return { task: 'matmul', file, cases };
}

export function sftSettings(name: ModelName, folder: string): TaskSettings {
  const vocabulary = MODEL_CONFIGS[name].vocab_size as number;
  const step: SftCase = {
    name: 'batch 4 × 256',
    rank: 16,
    learningRate: 1e-3,
    rows: randomTokens(4, 256, vocabulary),
  };
  return { task: 'sft', model: folder, adapter: `${folder}-adapter`, cases: [step] };
}

export function generateSettings(
  name: ModelName,
  folder: string,
  { batches, newTokens }: { readonly batches: readonly number[]; readonly newTokens: number },
): TaskSettings {
  const vocabulary = MODEL_CONFIGS[name].vocab_size as number;
  const cases = batches.map((batch) => ({
    name: `batch ${batch}, 64 + ${newTokens} tokens`,
    prompts: randomTokens(batch, 64, vocabulary),
    newTokens,
  }));
  return { task: 'generate', model: folder, cases };
}
