import { type Row, readRows } from '@posttrain/data';
import { type ChatMessage, PosttrainError, type Verifier } from '@posttrain/interfaces';
import { answersEqual, extractFinalAnswer, markedAnswer } from '@posttrain/interfaces/answers';
import { exactMatch, ruleVerifier } from '@posttrain/interfaces/verifiers';
import type { Rewards } from '@posttrain/rl';
import { applyStep, type Operator, problemRows } from '../pretrain-tiny/problem.js';

/** A problem: what is asked, the reference answer, and a worked solution where there is one. */
export interface JobRow {
  readonly prompt: readonly ChatMessage[];
  readonly answer: string;
  readonly completion?: readonly ChatMessage[];
  readonly [column: string]: unknown;
}

/** Everything the main job needs to know of a task. */
export interface JobTask {
  readonly name: string;
  /** Rows with worked solutions; empty: there is no supervised stage. */
  readonly demonstrations: readonly JobRow[];
  readonly train: readonly JobRow[];
  readonly heldOut: readonly JobRow[];
  /** Judges a completion against the reference answer and finds the answer it votes for: the grade, and the main reward. */
  readonly grader: Verifier;
  readonly rewards: Rewards<JobRow>;
  /** Judges a completion without the reference answer; best-of-N needs one. */
  readonly verifier?: Verifier;
  readonly maxTokens: number;
}

const chat = (prompt: string): ChatMessage[] => [{ role: 'user', content: prompt }];
const reply = (completion: string): ChatMessage[] => [{ role: 'assistant', content: completion }];

const STEPS = /^\d+[+-]\d+=\d+(, \d+[+-]\d+=\d+)* #### \d+$/;

/** The share of a worked solution's steps that are right: computed from the text alone. */
function soundSteps(completion: string): number {
  const steps = [...completion.matchAll(/(\d+)([+-])(\d+)=(\d+)/g)];
  const right = steps.filter(([, a, sign, b, c]) => applyStep(Number(a), sign as Operator, Number(b)) === Number(c));
  return steps.length === 0 || !STEPS.test(completion) ? 0 : right.length / steps.length;
}

/** The embedded task: sums of three or four numbers, worked out step by step (see ../pretrain-tiny/RECIPE.md). */
export function embeddedTask(seed: number, heldOut: number): JobTask {
  const rows = (split: 'train' | 'heldOut', count: number, offset: number): JobRow[] =>
    problemRows({ split, count, seed: seed * 1000 + offset }).map(({ prompt, completion, answer }) => ({
      prompt: chat(prompt),
      completion: reply(completion),
      answer: String(answer),
    }));
  // Only a marked answer of a completion that has ended counts: the last number of a working that was cut off is not one.
  const answer = ruleVerifier('answer', {}, ({ completion, row, finishReason }) => {
    const found =
      finishReason === 'length' || markedAnswer(completion) === null ? null : extractFinalAnswer(completion);
    return { score: Number(found !== null && answersEqual(found, String(row?.answer))), answer: found };
  });
  return {
    name: 'step-by-step sums',
    demonstrations: rows('train', 256, 1),
    train: rows('train', 4096, 2),
    // The same held-out problems for every seed, so that runs can be compared.
    heldOut: problemRows({ split: 'heldOut', count: heldOut, seed: 1 }).map(({ prompt, answer }) => ({
      prompt: chat(prompt),
      answer: String(answer),
    })),
    grader: answer,
    rewards: { answer, format: { weight: 0.1, verifier: (completion) => Number(STEPS.test(completion)) } },
    verifier: ruleVerifier('sound steps', {}, ({ completion }) => soundSteps(completion)),
    maxTokens: 44,
  };
}

/** One row in ten is held out, by its place in the file. */
const HELD_OUT_EVERY = 10;

/**
 * A task from a file of rows with `prompt` (text or messages), `answer` and, if there is to be a supervised stage,
 * `completion` (text or messages). Answers are compared as numbers where they are numbers.
 */
export async function fileTask(path: string, heldOut: number, maxTokens: number): Promise<JobTask> {
  const rows: JobRow[] = [];
  for await (const row of readRows(path)) rows.push(jobRow(row, path, rows.length + 1));
  const isHeldOut = (i: number) => i % HELD_OUT_EVERY === 0;
  const train = rows.filter((_, i) => !isHeldOut(i));
  const held = rows.filter((_, i) => isHeldOut(i)).slice(0, heldOut);
  if (train.length < 16 || held.length < 2) {
    throw new PosttrainError('TOO_FEW_ROWS', `${path} has ${rows.length} rows; the job needs at least 20`);
  }
  const answer = exactMatch({ name: 'answer' });
  return {
    name: path,
    demonstrations: train.filter((row) => row.completion !== undefined),
    train,
    heldOut: held,
    grader: answer,
    rewards: { answer },
    maxTokens,
  };
}

function jobRow(row: Row, path: string, number: number): JobRow {
  const messages = (value: unknown, wrap: (text: string) => ChatMessage[]): ChatMessage[] | undefined =>
    typeof value === 'string' ? wrap(value) : Array.isArray(value) ? (value as ChatMessage[]) : undefined;
  const prompt = messages(row.prompt, chat);
  if (!prompt || row.answer === undefined || row.answer === null) {
    throw new PosttrainError('ROW', `${path}, row ${number}: needs "prompt" (text or messages) and "answer"`);
  }
  const completion = messages(row.completion, reply);
  return { ...row, prompt, answer: String(row.answer), ...(completion ? { completion } : {}) };
}
