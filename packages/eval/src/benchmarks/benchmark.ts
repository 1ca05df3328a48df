import type { ChatMessage, Prompt, SamplingParams } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type PreferenceTask, pairAccuracy, preferencePairs } from '../kinds/preference-pairs.js';
import { type RollingTask, rollingPerplexity } from '../kinds/rolling.js';
import { meanScore } from '../metrics/mean.js';
import { accuracy, accuracyPerCharacter } from '../metrics/multiple-choice.js';
import { bitsPerByte, bytePerplexity, wordPerplexity } from '../metrics/rolling.js';
import type { ChoiceMetric, GenerateTask, Grader, MultipleChoiceTask, SampleMetric } from '../task.js';

/** A row of a benchmark, by the columns of its files. */
export type BenchmarkRow = Readonly<Record<string, unknown>>;

/** A family of benchmarks: which columns its rows have, and the task that is made of them. It holds no rows and claims no score. */
export interface Benchmark<Task = unknown> {
  /** Row of the survey's coverage. */
  readonly row: string;
  /** Where its files are, and its paper. */
  readonly source: string;
  /** Columns that are read. */
  readonly columns: readonly string[];
  /** What is measured, in words. */
  readonly metric: string;
  /** The task of given rows. @throws EvaluationError `BAD_ROW` where a column is missing */
  task(name: string, rows: readonly BenchmarkRow[]): Task;
}

type About = Pick<Benchmark, 'row' | 'source' | 'columns'>;
interface Common {
  prompt(row: BenchmarkRow): Prompt;
  /** What rows share that are not independent, or are reported together. */
  cluster?(row: BenchmarkRow): string;
}

/** Throws unless all rows have the columns. */
function checked(name: string, columns: readonly string[], rows: readonly BenchmarkRow[]): readonly BenchmarkRow[] {
  rows.forEach((row, i) => {
    const missing = columns.find((column) => row[column] === undefined);
    if (missing === undefined) return;
    const there = Object.keys(row).join(', ') || 'none';
    throw new EvaluationError(
      'BAD_ROW',
      `benchmark ${name}: row ${i} has no column "${missing}"; its columns are ${there}.`,
    );
  });
  return rows;
}

const shared = ({ cluster }: Common) => (cluster ? { cluster } : {});

/** The model writes an answer, which a grader reads. */
export const answered = (
  about: About & { readonly metric: string },
  given: Common & {
    readonly grader: Grader;
    readonly metrics?: readonly SampleMetric[];
    readonly sampling?: Omit<SamplingParams, 'seed'>;
  },
): Benchmark<GenerateTask<BenchmarkRow>> => ({
  ...about,
  task: (name, rows) => ({
    ...{ type: 'generate', name, dataset: checked(name, about.columns, rows), prompt: given.prompt, ...shared(given) },
    ...{
      graders: [given.grader],
      metrics: given.metrics ?? [meanScore()],
      sampling: { temperature: 0, ...given.sampling },
    },
  }),
});

/** The model weighs given answers. */
export const chosen = (
  about: About,
  given: Common & {
    choices(row: BenchmarkRow): readonly string[];
    gold(row: BenchmarkRow): number;
    readonly metrics?: readonly ChoiceMetric[];
  },
): Benchmark<MultipleChoiceTask<BenchmarkRow>> => ({
  ...about,
  metric: (given.metrics ?? [accuracy(), accuracyPerCharacter()]).map(({ name }) => name).join(', '),
  task: (name, rows) => ({
    ...{
      type: 'multiple_choice',
      name,
      dataset: checked(name, about.columns, rows),
      prompt: given.prompt,
      ...shared(given),
    },
    ...{ choices: given.choices, gold: given.gold, metrics: given.metrics ?? [accuracy(), accuracyPerCharacter()] },
  }),
});

/** A reward model tells the better answer from the worse. */
export const compared = (
  about: About,
  given: Common & { chosen(row: BenchmarkRow): string; rejected(row: BenchmarkRow): string | readonly string[] },
): Benchmark<PreferenceTask<BenchmarkRow>> => ({
  ...about,
  metric: 'pair_accuracy',
  task: (name, rows) =>
    preferencePairs({
      ...{ name, dataset: checked(name, about.columns, rows), prompt: given.prompt, ...shared(given) },
      ...{ chosen: given.chosen, rejected: given.rejected, metrics: [pairAccuracy()] },
    }),
});

/** Texts that the model predicts. */
export const predicted = (about: About, given: Common): Benchmark<RollingTask<BenchmarkRow>> => ({
  ...about,
  metric: 'word_perplexity, byte_perplexity, bits_per_byte',
  task: (name, rows) =>
    rollingPerplexity({
      ...{ name, dataset: checked(name, about.columns, rows), prompt: given.prompt, ...shared(given) },
      metrics: [wordPerplexity(), bytePerplexity(), bitsPerByte()],
    }),
});

/** A column as a text. @throws EvaluationError `BAD_ROW` */
export function textIn(row: BenchmarkRow, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw new EvaluationError(
    'BAD_ROW',
    `the column "${column}" must be a text, not ${JSON.stringify(value) ?? 'missing'}.`,
  );
}

/** A column as a list of texts. @throws EvaluationError `BAD_ROW` */
export function textsIn(row: BenchmarkRow, column: string): readonly string[] {
  const value = row[column];
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  throw new EvaluationError(
    'BAD_ROW',
    `the column "${column}" must be a list of texts, not ${JSON.stringify(value) ?? 'missing'}.`,
  );
}

/** A column as one of a few, by its place. @throws EvaluationError `BAD_ROW` */
export function placeIn(row: BenchmarkRow, column: string, of: readonly unknown[]): number {
  const place = of.indexOf(row[column]);
  if (place >= 0) return place;
  throw new EvaluationError(
    'BAD_ROW',
    `the column "${column}" is ${JSON.stringify(row[column])}; it must be one of ${JSON.stringify(of)}.`,
  );
}

/** A column as a conversation. @throws EvaluationError `BAD_ROW` */
export function messagesIn(row: BenchmarkRow, column: string): readonly ChatMessage[] {
  const value = row[column];
  const isMessage = (one: unknown) =>
    typeof (one as Partial<ChatMessage> | null)?.role === 'string' && typeof (one as ChatMessage).content === 'string';
  if (Array.isArray(value) && value.length > 0 && value.every(isMessage)) return value as ChatMessage[];
  throw new EvaluationError('BAD_ROW', `the column "${column}" must be a list of messages.`);
}

/** A, B, C … with the choices, one a line. */
export const lettered = (choices: readonly string[]): string =>
  choices.map((choice, i) => `${String.fromCharCode(65 + i)}. ${choice}`).join('\n');

/** The letters of so many choices. */
export const letters = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => String.fromCharCode(65 + i));
