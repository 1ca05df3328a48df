import { readFile } from 'node:fs/promises';
import { nearestName } from '@posttrain/interfaces';
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { DataFileError, messageOf } from '../errors.js';
import { isPlainObject, kindOf } from '../rows.js';
import type { AnyStep } from '../step.js';
import { stepOf } from './steps.js';

/** A pipeline as its file has it. */
export interface PipelineFile {
  readonly input: { readonly path: string; readonly split?: string; readonly config?: string };
  readonly steps: readonly AnyStep[];
  /** A file; of several processes, a folder of parts. */
  readonly output: string;
  /** Ending of the parts. */
  readonly parts: string;
  readonly workFolder: string | undefined;
  readonly report: string | undefined;
  readonly page: string | undefined;
  /** Column of the text that is measured. */
  readonly text: string;
  readonly seed: number;
  /** Dropped rows that are shown of each reason. */
  readonly examples: number;
}

const KEYS = ['input', 'steps', 'output', 'parts', 'workFolder', 'report', 'page', 'text', 'seed', 'examples'];
const INPUT_KEYS = ['path', 'split', 'config'];

/**
 * Reads a pipeline in YAML. Every key, and every option of a step, is checked; what is wrong is an error with the line.
 *
 * @throws DataFileError
 */
export async function readPipelineFile(path: string): Promise<PipelineFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new DataFileError({ path }, `cannot be read: ${messageOf(cause)}`, { cause });
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [broken] = document.errors;
  if (broken !== undefined) {
    throw new DataFileError(
      { path, line: broken.linePos?.[0].line ?? 1 },
      `is no YAML: ${broken.message.split('\n')[0]}`,
      { cause: broken },
    );
  }
  const root = document.contents;
  const lineOf = (node: unknown): number =>
    lines.linePos((node as { range?: readonly number[] | null } | null)?.range?.[0] ?? 0).line || 1;
  const fail = (node: unknown, problem: string, cause?: unknown) =>
    new DataFileError({ path, line: lineOf(node) }, problem, { cause });
  if (!isMap(root)) throw fail(root, `a pipeline is an object of ${KEYS.join(', ')}.`);
  for (const { key } of root.items) {
    const name = isScalar(key) ? String(key.value) : '';
    if (KEYS.includes(name)) continue;
    const near = nearestName(name, KEYS);
    throw fail(
      key,
      `there is no key "${name}".${near === undefined ? '' : ` Did you mean "${near}"?`} Keys: ${KEYS.join(', ')}.`,
    );
  }
  const given = document.toJS() as Readonly<Record<string, unknown>>;
  const at = (key: string): unknown => root.get(key, true) ?? root;
  const textAt = (key: string): string | undefined => {
    const value = given[key];
    if (value === undefined || (typeof value === 'string' && value !== '')) return value;
    throw fail(at(key), `"${key}" must be a text, got ${kindOf(value)}.`);
  };
  const wholeAt = (key: string, fallback: number): number => {
    const value = given[key] ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    throw fail(at(key), `"${key}" must be a whole number, got ${JSON.stringify(value)}.`);
  };
  const output = textAt('output');
  if (output === undefined) throw fail(root, '"output" is missing: the file that is written, such as clean.jsonl.zst.');
  const written = at('steps');
  const nodes = isSeq(written) ? written.items : [];
  const listed = given.steps ?? [];
  if (!Array.isArray(listed)) throw fail(written, `"steps" must be a list, got ${kindOf(listed)}.`);
  const steps = listed.map((step: unknown, i) => {
    try {
      return stepOf(step);
    } catch (cause) {
      throw fail(nodes[i], `step ${i + 1}: ${messageOf(cause)}`, cause);
    }
  });
  return {
    input: inputOf(given.input, (problem) => fail(at('input'), problem)),
    steps,
    output,
    parts: textAt('parts') ?? 'jsonl.zst',
    workFolder: textAt('workFolder'),
    report: textAt('report'),
    page: textAt('page'),
    text: textAt('text') ?? 'text',
    seed: wholeAt('seed', 0),
    examples: wholeAt('examples', 3),
  };
}

function inputOf(given: unknown, fail: (problem: string) => Error): PipelineFile['input'] {
  if (typeof given === 'string' && given !== '') return { path: given };
  if (!isPlainObject(given))
    throw fail('"input" is missing: a file, a folder or a glob, or an object of path, split and config.');
  for (const [key, value] of Object.entries(given)) {
    if (!INPUT_KEYS.includes(key)) {
      const near = nearestName(key, INPUT_KEYS);
      throw fail(
        `"input" has no key "${key}".${near === undefined ? '' : ` Did you mean "${near}"?`} Keys: ${INPUT_KEYS.join(', ')}.`,
      );
    }
    if (typeof value !== 'string') throw fail(`"input.${key}" must be a text, got ${kindOf(value)}.`);
  }
  if (given.path === undefined) throw fail('"input.path" is missing: a file, a folder or a glob.');
  return given as unknown as PipelineFile['input'];
}
