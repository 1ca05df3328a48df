import {
  assertArgument,
  custom,
  type Given,
  integer,
  number,
  OptionError,
  options,
  showValue,
} from '@posttrain/interfaces';
import { exactMatch } from './exact-match.js';
import { formatTags } from './format-tags.js';
import { lengthPenalty } from './length.js';
import { numericMatch } from './numeric-match.js';
import {
  type ChecksRows,
  type PromptRow,
  type RewardContext,
  RewardError,
  type RewardFunction,
  type Rewards,
  type WeightedReward,
} from './reward.js';
import { softOverlongPunishment } from './soft-overlong-punishment.js';

/** What is called to get a reward function, and was perhaps not. */
const MAKERS: ReadonlySet<unknown> = new Set([
  exactMatch,
  formatTags,
  lengthPenalty,
  numericMatch,
  softOverlongPunishment,
]);

/** What `rewards` must be. */
export const REWARDS = 'an object of reward functions by name, as { correct: numericMatch() }';

export const isRewards = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;

/** The reward functions with their names and weights. @throws OptionError for one that is none, or weighs no finite number */
export function rewardFunctionsOf<Row extends PromptRow>(
  rewards: Rewards<Row>,
): ({ readonly name: string } & WeightedReward<Row>)[] {
  return Object.entries(rewards).map(([name, entry]) => {
    const wrong = (problem: string) =>
      new OptionError('INVALID_OPTION', 'rewards', name, `the reward "${name}" ${problem}`);
    const reward = typeof entry === 'function' ? entry : entry?.reward;
    if (MAKERS.has(reward))
      throw wrong(`is ${reward!.name}, which makes a reward function: call it, as ${reward!.name}().`);
    if (typeof entry === 'function') return { name, reward: entry, weight: 1 };
    if (typeof entry?.reward !== 'function') {
      throw wrong(`must be a function, or { reward, weight } with a function, and is ${showValue(entry)}.`);
    }
    if (!Number.isFinite(entry.weight))
      throw wrong(`has the weight ${showValue(entry.weight)}; it must be a finite number.`);
    return { name, reward: entry.reward, weight: entry.weight };
  });
}

/**
 * Refuses a reward that no row lets score anything, before a completion is sampled for it.
 *
 * @throws OptionError
 */
export function refuseUnscorable<Row extends PromptRow>(
  where: string,
  rewards: Rewards<Row>,
  rows: readonly Row[],
): void {
  for (const { name, reward } of rewardFunctionsOf(rewards)) {
    const { cannotScore } = reward as Partial<ChecksRows>;
    const [first] = rows;
    if (!cannotScore || first === undefined || rows.some((row) => cannotScore(row) === undefined)) continue;
    const problem = `the reward "${name}" can score none of the ${rows.length} rows. Of the first: ${cannotScore(first)}.`;
    throw new OptionError('INVALID_OPTION', where, 'rewards', problem);
  }
}

const scoreOptions = options('scoreCompletions', {
  /** Most reward calls that run at one time. Default 16. */
  concurrency: integer({ default: 16, min: 1 }),
  /** Seconds one call may take; for asynchronous functions, as nothing can stop a synchronous one. Default 60. */
  timeoutSeconds: number({ default: 60, above: 0 }),
  /** Ends the calls that run, and begins no others; the reason is thrown. Default: none. */
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, {
    optional: true,
    decisive: false,
  }),
});
export type ScoreOptions = Given<typeof scoreOptions>;

/** A completion to be scored. */
export interface CompletionToScore<Row extends PromptRow> extends Omit<RewardContext<Row>, 'signal'> {
  readonly text: string;
}

/** What `scoreCompletions` gives. */
export interface Scores {
  /** Per reward function, one number or null per completion. */
  readonly byFunction: Readonly<Record<string, readonly (number | null)[]>>;
  /** Σ weight · reward over the functions that could score it; null where none could. */
  readonly rewards: readonly (number | null)[];
}

/**
 * Asks every reward function about every completion.
 *
 * @throws OptionError; RewardError naming the function that threw, ran out of time or returned something else than a number or null; the
 *   reason of the signal when that fires
 */
export async function scoreCompletions<Row extends PromptRow>(
  rewards: Rewards<Row>,
  completions: readonly CompletionToScore<Row>[],
  given: ScoreOptions = {},
): Promise<Scores> {
  const { concurrency, timeoutSeconds, signal } = scoreOptions.read(given);
  assertArgument('scoreCompletions', 'rewards', rewards, isRewards(rewards), REWARDS);
  assertArgument('scoreCompletions', 'completions', completions, Array.isArray(completions), 'a list of completions');
  const functions = rewardFunctionsOf(rewards);
  const scores = functions.map(() => new Array<number | null>(completions.length).fill(null));
  const tasks = functions.flatMap(({ name, reward }, f) =>
    completions.map((completion, i) => async (ended: AbortSignal) => {
      scores[f]![i] = await callReward(name, reward, completion, timeoutSeconds, ended);
    }),
  );
  await runAll(tasks, concurrency, signal);
  return {
    byFunction: Object.fromEntries(functions.map(({ name }, f) => [name, scores[f]!])),
    rewards: completions.map((completion, i) => {
      const there = functions.flatMap(({ weight }, f) => (scores[f]![i] === null ? [] : [weight * scores[f]![i]!]));
      if (there.length === 0) return null;
      const sum = there.reduce((a, b) => a + b);
      // Rewards are trained with in float32.
      if (Number.isFinite(Math.fround(sum))) return sum;
      const names = functions.map(({ name }) => name).join(' + ');
      throw new RewardError(names, `add up to ${sum} with their weights, which float32 cannot hold`, completion);
    }),
  };
}

/** Runs tasks in order, a few at a time; the first failure aborts the others' signal and is thrown. */
async function runAll(
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
  concurrency: number,
  given: AbortSignal | undefined,
): Promise<void> {
  const controller = new AbortController();
  const abort = () => controller.abort(given!.reason);
  given?.throwIfAborted();
  given?.addEventListener('abort', abort, { once: true });
  let next = 0;
  const worker = async () => {
    while (next < tasks.length && !controller.signal.aborted) await tasks[next++]!(controller.signal);
  };
  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, tasks.length) }, worker));
  } catch (error) {
    controller.abort(error);
    throw error;
  } finally {
    given?.removeEventListener('abort', abort);
  }
  given?.throwIfAborted();
}

async function callReward<Row extends PromptRow>(
  name: string,
  reward: RewardFunction<Row>,
  { text, ...context }: CompletionToScore<Row>,
  timeoutSeconds: number,
  runSignal: AbortSignal,
): Promise<number | null> {
  const controller = new AbortController();
  let giveUp: (reason: unknown) => void = () => {};
  const abort = () => {
    controller.abort(runSignal.reason);
    giveUp(runSignal.reason);
  };
  runSignal.addEventListener('abort', abort, { once: true });
  let timer: NodeJS.Timeout | undefined;
  try {
    const pending = reward(text, { ...context, signal: controller.signal });
    const value =
      typeof pending === 'object' && pending !== null
        ? await Promise.race([
            pending,
            new Promise<never>((_, reject) => {
              giveUp = reject;
              timer = setTimeout(() => {
                const error = new RewardError(name, `took longer than ${timeoutSeconds} s`, context);
                controller.abort(error);
                reject(error);
              }, timeoutSeconds * 1000);
            }),
          ])
        : pending;
    if (value !== null && (typeof value !== 'number' || !Number.isFinite(value))) {
      throw new RewardError(
        name,
        `returned ${String(value)}; return a finite number, or null for "not scorable"`,
        context,
      );
    }
    return value;
  } catch (error) {
    // Whatever a call that is ended says: it is not why.
    if (runSignal.aborted) throw runSignal.reason;
    if (error instanceof RewardError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new RewardError(name, `threw: ${message}`, context, { cause: error });
  } finally {
    clearTimeout(timer);
    runSignal.removeEventListener('abort', abort);
  }
}
