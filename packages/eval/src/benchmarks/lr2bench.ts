import { isPlainObject, type Verifier } from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { literalEval } from '../python/expression.js';
import type { SampleMetric } from '../task.js';
import { type BenchmarkRow, textIn } from './benchmark.js';

/** What an answer of each task looks like, between the tags that its prompt asks for. */
const FORMS = {
  crossword: { pattern: /\{.*?\}/gs, tag: 'Answer' },
  acrostic: { pattern: /\{.*?\}/gs, tag: 'Answer' },
  logic: { pattern: /\[.*?\]/gs, tag: 'Answer' },
  cryptogram: { pattern: /\{.*?\}/gs, tag: 'Mapping' },
  sudoku: { pattern: /\[\s*\[.*?\]\s*\]/gs, tag: 'Answer' },
  drop: { pattern: /\[\s*\[.*?\]\s*\]/gs, tag: 'Answer' },
} as const;
/** A task of LR²Bench. */
export type Lr2Task = keyof typeof FORMS;

/** The answer in a response, as text; `null` where there is none. */
export function lr2Answer(task: Lr2Task, response: string): string | null {
  const { pattern, tag } = FORMS[task];
  const marked = [...response.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gis'))].at(-1)?.[1];
  return marked === undefined ? null : (strip(marked).match(pattern)?.at(-1)?.trim() ?? null);
}

/**
 * Which cells of a puzzle a response has right, as LR²Bench's script counts them (arXiv 2502.17848): entries of a crossword, an acrostic and a cryptogram by their
 * keys, without spaces and case; of a logic puzzle the attributes beside the first of each group; of sudoku the cells that were empty; of drop quote all but `#`.
 *
 * @param gold the answer as it is; of sudoku `{ grid, answer }`
 */
export function lr2Cells(task: Lr2Task, gold: unknown, response: string): boolean[] {
  let said: unknown = null;
  try {
    said = literalEval(lr2Answer(task, response) ?? '');
  } catch {
    // What is no literal of Python has nothing right.
  }
  if (task === 'logic') return logicCells(gold as readonly object[], said);
  if (task === 'sudoku') {
    const { grid, answer } = gold as { readonly grid: readonly unknown[][]; readonly answer: readonly unknown[][] };
    return gridCells(answer, said, (i, j) => grid[i]![j] === 0);
  }
  if (task === 'drop') return gridCells(gold as readonly unknown[][], said, (_, __, one) => one !== '#');
  const plain = (value: unknown) => pythonText(value).replaceAll(' ', '').toLowerCase();
  const found = entriesOf(said, plain);
  return [...entriesOf(gold, plain)].map(([key, value]) => found.get(key) === value);
}

/** `str(value)` of what JSON has. */
const pythonText = (value: unknown): string =>
  value === null ? 'None' : typeof value === 'boolean' ? (value ? 'True' : 'False') : String(value);

const entriesOf = (value: unknown, plain: (value: unknown) => string): Map<string, string> =>
  new Map(isPlainObject(value) ? Object.entries(value).map(([key, of]) => [key.toLowerCase(), plain(of)]) : []);

function logicCells(gold: readonly object[], said: unknown): boolean[] {
  const plain = (value: unknown) => pythonText(value).toLowerCase();
  const isGroups = Array.isArray(said) && said.every((one) => isPlainObject(one));
  const groups = isGroups ? said.map((one) => entriesOf(one, plain)) : [];
  return gold.flatMap((one) => {
    const [[first, name], ...others] = [...entriesOf(one, plain)] as [[string, string], ...[string, string][]];
    const found = groups.find((group) => group.get(first) === name);
    return others.map(([key, value]) => (found?.get(key) ?? '') === value);
  });
}

function gridCells(
  gold: readonly (readonly unknown[])[],
  said: unknown,
  counts: (i: number, j: number, value: unknown) => boolean,
): boolean[] {
  const cellOf = (i: number, j: number): unknown => {
    const row: unknown = Array.isArray(said) ? said[i] : undefined;
    return Array.isArray(row) ? row[j] : undefined;
  };
  return gold.flatMap((row, i) => row.flatMap((value, j) => (counts(i, j, value) ? [cellOf(i, j) === value] : [])));
}

/** Cells that are right, by the row's `task` and `answer` (JSON text, as in the authors' file, or its value). The score is their share. */
export const lr2Grader: Verifier = functionVerifier('cells', ({ completion, row }) => {
  const task = textIn(row as BenchmarkRow, 'task') as Lr2Task;
  if (!Object.hasOwn(FORMS, task))
    throw new EvaluationError(
      'BAD_ROW',
      `lr2bench: the task is "${task}"; it is one of ${Object.keys(FORMS).join(', ')}.`,
    );
  const { answer } = row as BenchmarkRow;
  const cells = lr2Cells(task, typeof answer === 'string' ? JSON.parse(answer) : answer, completion);
  if (cells.length === 0)
    throw new EvaluationError('BAD_ROW', `lr2bench: the answer of a ${task} has no cells to fill.`);
  const stepScores = cells.map(Number);
  const score = stepScores.reduce((sum, one) => sum + one, 0) / stepScores.length;
  return { score, stepScores, answer: lr2Answer(task, completion) };
});

/** The share of samples at least half of whose cells are right: LR²Bench's PM-0.5. */
export const halfRight = (): SampleMetric => ({
  name: 'pm_0.5',
  value: ({ samples }) => {
    const scored = samples.filter(({ score }) => score !== null);
    return scored.length === 0 ? null : scored.filter(({ score }) => score! >= 0.5).length / scored.length;
  },
});
