/** Catastrophic forgetting on a stream of tasks, and methods against it, over seeds. See README.md. */
import { join } from 'node:path';
import { continualMetrics } from '@posttrain/eval';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { type ContinualMethod, continualMethods, sftStage, trainStream } from '@posttrain/training';
import { taskStream } from './tasks.js';

/** Student's t of 95 %, two degrees of freedom: three seeds. */
const QUANTILE = 4.303;
export const SEEDS = [2, 3, 4];
/** The score that R has: the share of held-out rows of which every token of the completion is the most likely one. */
const SCORE = 'exact_match';

/** Generative replay that asks the old model with prompts of the tasks that it has learnt; of their answers nothing is kept. */
function generativeReplay(): ContinualMethod {
  let prompts: readonly string[] = [];
  return {
    ...{ name: 'generative-replay', family: 'replay' },
    begin: (given) => {
      const sampling = { maxTokens: 4, temperature: 1 };
      return prompts.length > 0
        ? continualMethods.generative_replay({ gamma: 1, sampling, prompts }).begin!(given)
        : {};
    },
    end({ task }) {
      prompts = [...prompts, ...task.rows.slice(0, 48).map(({ prompt }) => prompt as string)];
    },
  };
}

/** Arms beside `naive`, the control, and `joint`, which is no stream: all tasks at once. Strengths were chosen on seed 1. */
export const ARMS: Readonly<Record<string, () => ContinualMethod>> = {
  naive: continualMethods.naive,
  replay: () => continualMethods.replay(),
  mas: () => continualMethods.mas({ lambda: 0.001 }),
  ewc: () => continualMethods.ewc({ lambda: 1000 }),
  lwf: () => continualMethods.lwf({ lambda: 2 }),
  si: () => continualMethods.si({ c: 30 }),
  a_gem: () => continualMethods.a_gem({ batchSize: 16 }),
};
/** Arms that are run where they are named. */
export const FURTHER_ARMS: typeof ARMS = {
  online_ewc: () => continualMethods.online_ewc({ lambda: 1000 }),
  l2_sp: () => continualMethods.l2_sp({ alpha: 0.03 }),
  gem: () => continualMethods.gem({ rowsPerTask: 16 }),
  generative_replay: generativeReplay,
};
export const JOINT = 'joint';

/** What one arm came to with one seed. */
export interface ArmRun {
  readonly seed: number;
  /** b and R of `SCORE`; of `joint` R is one row. */
  readonly baseline: readonly number[];
  readonly matrix: readonly (readonly number[])[];
}

/** Sizes of a run. */
export interface StudySize {
  readonly steps: number;
  readonly batchSize: number;
  readonly train: number;
  readonly heldOut: number;
}
export const SIZE: StudySize = { steps: 112, batchSize: 16, train: 96, heldOut: 32 };

const rounded = (row: readonly number[]) => row.map((x) => Math.round(x * 1e4) / 1e4);

/** A small model with random weights and the tokenizer of `pretrain-tiny`. */
export async function freshModel(seed: number): Promise<CausalLM> {
  const tokenizer = await Tokenizer.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: 103, hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2 },
    ...{ num_attention_heads: 4, max_position_embeddings: 32, initializer_range: 0.08, eos_token_id: 5 },
    tie_word_embeddings: false,
  });
  return CausalLM.initialize({ config, tokenizer, name: 'fresh' }, seed);
}

/** Trains one arm on the stream, from fresh weights. */
export async function runArm(arm: string, seed: number, size: StudySize = SIZE): Promise<ArmRun> {
  const model = await freshModel(seed);
  const tasks = taskStream({ seed, ...size });
  const { steps, batchSize } = size;
  const settings = {
    batchSize,
    learningRate: 4e-3,
    schedule: 'cosine',
    warmupSteps: Math.floor(steps / 16),
    seed,
  } as const;
  if (arm !== JOINT) {
    const { baseline, matrix } = await trainStream({
      model,
      tasks,
      method: (ARMS[arm] ?? FURTHER_ARMS[arm])!(),
      stage: sftStage({ ...settings, steps }),
    });
    return { seed, baseline: rounded(baseline[SCORE]!), matrix: matrix[SCORE]!.map(rounded) };
  }
  // As many updates as the whole stream has.
  const all = { name: JOINT, rows: tasks.flatMap(({ rows }) => rows) };
  const stage = sftStage({ ...settings, steps: steps * tasks.length });
  const { trainer } = await stage.train({ model, adapter: undefined, task: all, index: 0, plan: {} });
  const scores: number[] = [];
  for (const { evaluationRows } of tasks) {
    scores.push((await stage.evaluate!(trainer, { model, adapter: undefined }, evaluationRows!))[SCORE]!);
  }
  return { seed, baseline: [], matrix: [rounded(scores)] };
}

/** A mean over seeds with its 95 % interval (Student's t). */
export interface OverSeeds {
  readonly mean: number;
  readonly interval: readonly [number, number];
}

export function overSeeds(values: readonly number[]): OverSeeds {
  if (values.length !== SEEDS.length) throw new Error(`${values.length} values, and ${SEEDS.length} seeds`);
  const mean = values.reduce((a, b) => a + b) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  const half = (QUANTILE * deviation) / Math.sqrt(values.length);
  return { mean, interval: [mean - half, mean + half] };
}

const metricsOf = ({ baseline, matrix }: ArmRun) => continualMetrics({ matrix, baseline, higherIsBetter: true });
/** OP of one run. */
export const overallOf = ({ matrix }: ArmRun): number => {
  const last = matrix.at(-1)!;
  return last.reduce((a, b) => a + b, 0) / last.length;
};

/** The line of an arm in the table, against the control with the same seeds. */
export function summary(runs: readonly ArmRun[], control: readonly ArmRun[]) {
  const of = (value: (run: ArmRun) => number) => overSeeds(runs.map(value));
  const apart = overSeeds(runs.map((run, i) => overallOf(run) - overallOf(control[i]!)));
  if (runs[0]!.matrix.length === 1) return { overall: of(overallOf), apart };
  const measured = runs.map(metricsOf);
  return {
    overall: of(overallOf),
    apart,
    forgetting: overSeeds(measured.map(({ forgetting }) => forgetting!)),
    learnt: overSeeds(runs.map(({ matrix }) => matrix.reduce((sum, row, i) => sum + row[i]!, 0) / matrix.length)),
    forwardTransfer: overSeeds(measured.map(({ forwardTransfer }) => forwardTransfer!)),
  };
}

/** As `0.42 [0.31, 0.53]`. */
export const show = ({ mean, interval: [low, high] }: OverSeeds) =>
  `${mean.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;

/** The table of README.md: a line an arm. */
export function table(results: Readonly<Record<string, readonly ArmRun[]>>): string {
  const lines = Object.entries(results).map(([arm, runs]) => {
    const { overall, apart, forgetting, learnt } = summary(runs, results.naive!);
    const cells = [overall, arm === 'naive' ? undefined : apart, forgetting, learnt].map((one) =>
      one ? show(one) : '',
    );
    return `| \`${arm}\` | ${cells.join(' | ')} |`;
  });
  const head = '| arm | OP | OP less that of `naive` | forgetting | learnt |';
  return [head, '| --- | --- | --- | --- | --- |', ...lines].join('\n');
}
