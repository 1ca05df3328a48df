import {
  custom,
  type Generator,
  integer,
  number,
  PosttrainError,
  type Prompt,
  type SamplingParams,
  text,
  type Verifier,
} from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, ownValue } from '../rows.js';
import type { StepContext } from '../step.js';

/** Options of every step that completes prefixes of solutions and judges what comes of them. */
export const rolloutShape = {
  /** Who completes the solutions: the model that made them, or another one (the completer, the prover). */
  generator: custom<Generator>()(
    'a generator ({ name, generate(requests) })',
    (value) => typeof (value as Partial<Generator> | null)?.generate === 'function',
    { settings: ({ name }) => name },
  ),
  /** Who says whether a whole solution is right. */
  verifier: custom<Verifier>()(
    'a verifier ({ name, verify(requests) })',
    (value) => typeof (value as Partial<Verifier> | null)?.verify === 'function',
    { settings: ({ name }) => name },
  ),
  /** Completions of each prefix. Default 8. */
  rollouts: integer({ default: 8, min: 1 }),
  /** A score of at least this is right. Default 0.5. */
  threshold: number({ default: 0.5 }),
  /** Text behind every step. Default a line break. */
  stepSeparator: text({ default: '\n' }),
  /** How completions are drawn; each has a seed of its own, by row and prefix. Default: as the generator does. */
  sampling: custom<SamplingParams>()('sampling parameters', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
};

/** What `rolloutShape` gives when it is read. */
export interface RolloutSettings {
  readonly generator: Generator;
  readonly verifier: Verifier;
  readonly rollouts: number;
  readonly threshold: number;
  readonly stepSeparator: string;
  readonly sampling?: SamplingParams | undefined;
}

/** A completion of a prefix. */
export interface Rollout {
  readonly text: string;
  readonly tokens: number;
  readonly isRight: boolean;
}

/** A row with a problem. */
export interface ProblemRow {
  readonly prompt: Prompt;
}

/** A row with a solution in steps. */
export interface SolutionRow extends ProblemRow {
  /** The steps. */
  readonly completions: readonly string[];
}

/** A row to be rolled out from, and where the randomness of it comes from. */
export interface RolloutRow {
  readonly row: object;
  readonly prompt: Prompt;
  readonly id: string;
}

/** That the verifier has no verdict on a completion: the row is of no use. */
export class NotScorable extends Error {}

/** The row with its prompt. @throws RowError */
export function rolloutRow<R extends ProblemRow>(row: R, rowNumber: number, context: StepContext<R>): RolloutRow {
  const prompt = ownValue(row, 'prompt');
  if (typeof prompt !== 'string' && !Array.isArray(prompt)) {
    throw new RowError(rowNumber, 'prompt', `must be a text or messages, got ${kindOf(prompt)}.`);
  }
  return { row, prompt: prompt as Prompt, id: context.keyOf(row).id };
}

/** The steps of a row. @throws RowError */
export function stepsOf(row: object, rowNumber: number): readonly string[] {
  const steps = ownValue(row, 'completions');
  const isList = Array.isArray(steps) && steps.length > 0 && steps.every((step) => typeof step === 'string');
  if (isList) return steps;
  throw new RowError(
    rowNumber,
    'completions',
    `must be a list of texts, the steps, got ${kindOf(steps)}; split the solution at its step ends first.`,
  );
}

/** Whether solutions are right. @throws NotScorable */
export async function areRight(
  of: RolloutRow,
  solutions: readonly string[],
  { verifier, threshold }: RolloutSettings,
  signal: AbortSignal,
): Promise<boolean[]> {
  const { row, prompt } = of;
  const verdicts = await verifier.verify(
    solutions.map((completion) => ({ prompt, completion, row: row as Readonly<Record<string, unknown>>, signal })),
  );
  if (verdicts.length !== solutions.length) {
    const problem = `${verifier.name} returned ${verdicts.length} verdicts for ${solutions.length} solutions`;
    throw new PosttrainError('BAD_RESPONSE', problem);
  }
  return verdicts.map(({ score }) => {
    if (score === null) throw new NotScorable('the verifier cannot score a completion');
    return score >= threshold;
  });
}

/** Completions of each prefix (the text so far, whose steps have the separator behind them), judged. @throws NotScorable */
export async function rollOut<R extends ProblemRow>(
  of: RolloutRow,
  prefixes: readonly string[],
  settings: RolloutSettings,
  context: StepContext<R>,
): Promise<Rollout[][]> {
  const { generator, rollouts, sampling } = settings;
  if (prefixes.length === 0) return [];
  const { signal } = context;
  const requests = prefixes.map((prefix) => ({
    ...sampling,
    ...{ prompt: of.prompt, prefix, n: rollouts, signal },
    // Of the prefix and not of its number, so that it is the same whatever was asked before.
    seed: context.random(`${of.id} ${prefix}`).integer(0, 2 ** 31 - 1),
  }));
  const drawn = await generator.generate(requests);
  const short = drawn.findIndex((completions) => completions.length !== rollouts);
  if (drawn.length !== prefixes.length || short >= 0) {
    const found =
      short >= 0 ? `${drawn[short]!.length} completions where ${rollouts} were asked for` : `${drawn.length} lists`;
    throw new PosttrainError('BAD_RESPONSE', `${generator.name} returned ${found}, for ${prefixes.length} prefixes`);
  }
  signal.throwIfAborted();
  const texts = drawn.flatMap((completions, i) => completions.map(({ text: more }) => `${prefixes[i]}${more}`));
  const right = await areRight(of, texts, settings, signal);
  return drawn.map((completions, i) =>
    completions.map(({ text: more, usage }, j) => ({
      ...{ text: more, tokens: usage.completionTokens },
      isRight: right[i * rollouts + j]!,
    })),
  );
}

/** The share that is right. */
export const shareRight = (rollouts: readonly Rollout[]): number =>
  rollouts.filter(({ isRight }) => isRight).length / rollouts.length;

/**
 * The Monte Carlo value of the state after each step: the share of `rollouts` completions from there that are right; behind the last step
 * there is nothing to complete, and the value is whether the solution is right.
 *
 * @param withStart whether the value of the state before the first step comes first
 * @throws NotScorable
 */
export async function stepValues<R extends ProblemRow>(
  of: RolloutRow,
  steps: readonly string[],
  settings: RolloutSettings,
  context: StepContext<R>,
  withStart = false,
): Promise<number[]> {
  const upTo = (count: number) =>
    steps
      .slice(0, count)
      .map((step) => step + settings.stepSeparator)
      .join('');
  const prefixes = Array.from({ length: steps.length }, (_, i) => upTo(i)).slice(withStart ? 0 : 1);
  const values = (await rollOut(of, prefixes, settings, context)).map(shareRight);
  const [isRight] = await areRight(of, [upTo(steps.length)], settings, context.signal);
  return [...values, Number(isRight)];
}

/** Rows made of rows, several at a time, in their order; a row with a completion that cannot be scored is dropped. */
export async function* eachRow<R extends ProblemRow, Out extends object>(
  rows: AsyncIterable<R>,
  context: StepContext<R>,
  concurrency: number,
  make: (row: R, rowNumber: number) => Promise<readonly Out[]>,
): AsyncGenerator<Out> {
  let batch: R[] = [];
  let rowNumber = 0;
  const flush = async () => {
    const first = rowNumber - batch.length + 1;
    const made = await Promise.all(
      batch.map((row, i) =>
        make(row, first + i).catch((error: unknown) => {
          if (!(error instanceof NotScorable)) throw error;
          context.drop(row, error.message);
          return [];
        }),
      ),
    );
    batch = [];
    return made.flat();
  };
  for await (const row of rows) {
    rowNumber++;
    batch.push(row);
    if (batch.length === concurrency) yield* await flush();
  }
  if (batch.length > 0) yield* await flush();
}
