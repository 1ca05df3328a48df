import {
  type CompareRequest,
  type Completion,
  type Generator,
  type PairJudge,
  type PairVerdict,
  type SamplingParams,
  showValue,
} from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type AskContext, assertLength, type Problem, problemSeed, untilAborted } from '../task-kind.js';

// What kinds have in common whose completions a judge sees in pairs.

/** One side of a pair, as it is logged. */
export type LoggedSide = Pick<Completion, 'text'> & Partial<Pick<Completion, 'finishReason' | 'usage'>>;

/** What both orders of a pair were judged. */
export type BothVerdicts = readonly [asGiven: PairVerdict, swapped: PairVerdict];

interface DrawingTask {
  readonly name: string;
  readonly sampling?: Omit<SamplingParams, 'seed'>;
}

/** One completion of each problem. */
export async function sidesOf(
  task: DrawingTask,
  generator: Generator,
  problems: readonly Problem[],
  { seed, signal }: AskContext,
): Promise<LoggedSide[]> {
  const answers = await generator.generate(
    problems.map(({ id, prompt }) => ({
      prompt,
      ...task.sampling,
      seed: problemSeed(seed, id),
      ...(signal && { signal }),
    })),
  );
  assertLength(generator.name, 'arrays of completions', answers.length, problems.length, 'requests');
  return answers.map((completions, i) => {
    assertLength(generator.name, 'completions', completions.length, 1, `sample of "${problems[i]!.id}"`);
    const { text, finishReason, usage } = completions[0]!;
    if (finishReason === 'abort') throw new EvaluationError('ABORTED', `${task.name}: stopped by the signal.`);
    return { text, finishReason, usage };
  });
}

/** The verdicts on pairs, each shown in both orders. */
export async function judgedInBothOrders(
  { name, judge }: { readonly name: string; readonly judge: PairJudge },
  pairs: readonly (Pick<Problem, 'prompt' | 'row'> & { readonly first: string; readonly second: string })[],
  signal: AbortSignal | undefined,
): Promise<BothVerdicts[]> {
  const requests = pairs.flatMap(({ prompt, row, first, second }): CompareRequest[] => {
    const shown = { prompt, row: row as Readonly<Record<string, unknown>>, ...(signal && { signal }) };
    return [
      { ...shown, first, second },
      { ...shown, first: second, second: first },
    ];
  });
  const verdicts = await untilAborted(() => judge.compare(requests), signal, name);
  assertLength(judge.name, 'verdicts', verdicts.length, requests.length, 'pairs');
  verdicts.forEach(assertVerdict(judge.name));
  return pairs.map((_, i) => [verdicts[2 * i]!, verdicts[2 * i + 1]!] as const);
}

const assertVerdict =
  (judge: string) =>
  ({ winner }: PairVerdict): void => {
    if (winner === null || ['first', 'second', 'tie'].includes(winner)) return;
    throw new EvaluationError(
      'BAD_RESPONSE',
      `${judge} gave the winner ${showValue(winner)}; it is "first", "second", "tie", or null for "not said".`,
    );
  };

/** 1: the first side was preferred in both orders; 0: the second in both; 0.5: anything else; `null`: a verdict is missing. */
export function scoreOf([asGiven, swapped]: BothVerdicts): number | null {
  if (asGiven.winner === null || swapped.winner === null) return null;
  if (asGiven.winner === 'first' && swapped.winner === 'second') return 1;
  if (asGiven.winner === 'second' && swapped.winner === 'first') return 0;
  return 0.5;
}
