import type { Verifier } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { passAtK } from '../metrics/pass-at-k.js';
import type { Battle } from '../statistics/battle.js';
import type { GenerateTask } from '../task.js';
import { answered, type BenchmarkRow, textIn } from './benchmark.js';
import { languageBenchmarks } from './language.js';
import { preferenceBenchmarks } from './preferences.js';
import { reasoningBenchmarks } from './reasoning.js';

/** Families of benchmarks by name, each with the schema of its files, its prompt and its metric. */
export const benchmarks = { ...reasoningBenchmarks, ...preferenceBenchmarks, ...languageBenchmarks } as const;

/** The name of a family of benchmarks. */
export type BenchmarkName = keyof typeof benchmarks;

/**
 * The task of a benchmark, of rows that the user has (`readRows` of `@posttrain/data`): its prompt and its metric. Prompts are plain ones; those of
 * a harness are `lmEvalTask`'s.
 *
 * @throws EvaluationError `BAD_ROW` naming the column that a row has not
 */
export function benchmarkTask<N extends BenchmarkName>(
  name: N,
  rows: readonly object[],
): ReturnType<(typeof benchmarks)[N]['task']> {
  return benchmarks[name].task(name, rows as readonly BenchmarkRow[]) as ReturnType<(typeof benchmarks)[N]['task']>;
}

const CODE = {
  humaneval: {
    about: {
      row: 'M8',
      source: 'openai/openai_humaneval (arXiv 2107.03374)',
      columns: ['task_id', 'prompt', 'test', 'entry_point'],
    },
    prompt: (row: BenchmarkRow) => textIn(row, 'prompt'),
    begun: (row: BenchmarkRow) => textIn(row, 'prompt').trim(),
    stop: ['\nclass', '\ndef', '\n#', '\n@', '\nprint', '\nif', '\n```', '<file_sep>'],
  },
  mbpp: {
    about: {
      row: 'M8',
      source: 'google-research-datasets/mbpp (arXiv 2108.07732)',
      columns: ['task_id', 'text', 'test_list'],
    },
    prompt: (row: BenchmarkRow) =>
      `You are an expert Python programmer, and here is your task: ${textIn(row, 'text')} Your code should pass these tests:\n\n${(row.test_list as readonly string[]).join('\n')}\n`,
    begun: (row: BenchmarkRow) => `"""\n${textIn(row, 'text')}\n${(row.test_list as readonly string[])[0]}\n"""\n`,
    stop: ['\nclass', '\nassert', '\n"""', '\nprint', '\nif', '\n<|/', '\n```'],
  },
} as const;

/**
 * HumanEval or MBPP: programs under unit tests, which only a sandbox runs: `grader` is `unitTests({ sandbox, language: 'python' })` of
 * `@posttrain/sandbox` (with `testColumn: 'test_list'` for MBPP). `samples` draws give pass@k for each k. `form` is `instruction` (the default), for models that answer
 * with a program, or `continuation`, for base models that continue code: with the prompts and the texts that end a completion of bigcode-evaluation-harness (HumanEval's
 * prompt without white space at its ends; MBPP's a docstring of the task and its first test, as InCoder has it, arXiv 2204.05999).
 *
 * @throws EvaluationError `BAD_ROW`
 */
export function codeBenchmark(
  name: keyof typeof CODE,
  rows: readonly object[],
  {
    grader,
    samples = 1,
    k = [1],
    form = 'instruction',
  }: {
    readonly grader: Verifier;
    readonly samples?: number;
    readonly k?: readonly number[];
    readonly form?: 'instruction' | 'continuation';
  },
): GenerateTask<BenchmarkRow> {
  const { about, prompt, begun, stop } = CODE[name];
  const isContinued = form === 'continuation';
  const made = answered(
    { ...about, metric: 'pass@k' },
    {
      prompt: isContinued ? begun : prompt,
      grader,
      metrics: k.map((one) => passAtK(one)),
      sampling: { temperature: samples > 1 ? 0.8 : 0, maxTokens: 512, ...(isContinued && { stop }) },
    },
  );
  return {
    ...made.task(name, rows as readonly BenchmarkRow[]),
    samples,
    id: (row) => String((row as BenchmarkRow).task_id),
  };
}

/**
 * Votes of Chatbot Arena (lmsys/chatbot_arena_conversations, arXiv 2403.04132) as battles for `bradleyTerry` and `elo`: both kinds of ties are half.
 * @throws EvaluationError `BAD_ROW`
 */
export function arenaBattles(rows: readonly object[]): Battle[] {
  return rows.map((given, i) => {
    const row = given as BenchmarkRow;
    const score = { model_a: 1, model_b: 0, tie: 0.5, 'tie (bothbad)': 0.5 }[String(row.winner)];
    if (score === undefined)
      throw new EvaluationError(
        'BAD_ROW',
        `arenaBattles: the winner of row ${i} is ${JSON.stringify(row.winner)}; it is model_a, model_b, tie or tie (bothbad).`,
      );
    return {
      a: textIn(row, 'model_a'),
      b: textIn(row, 'model_b'),
      score,
      ...(typeof row.question_id === 'string' && { cluster: row.question_id }),
    };
  });
}
