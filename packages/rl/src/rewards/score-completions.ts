import {
  assertArgument,
  custom,
  type DecisiveSettings,
  options as declare,
  type Given,
  integer,
  isPosttrainError,
  OptionError,
  oneOf,
  settingsOf,
  showValue,
  type Verdict,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import {
  allOrAbort,
  createLimiter,
  type Limiter,
  LONGEST_TIMER_MS,
  withDeadline,
} from '@posttrain/interfaces/concurrency';
import {
  type ChecksRows,
  exactMatch,
  formatTags,
  functionVerifier,
  instructionConstraints,
  normalizedMatch,
  numericMatch,
  rubric,
  tokenF1,
  VerifierFailedError,
  VerifierTimeoutError,
} from '@posttrain/interfaces/verifiers';
import { cosineLength } from './cosine-length.js';
import { lengthPenalty } from './length.js';
import { lengthTarget } from './length-target.js';
import { repetitionPenalty } from './repetition-penalty.js';
import {
  type PromptRow,
  type RewardContext,
  RewardError,
  type RewardFunction,
  type RewardRequest,
  type Rewards,
  type WeightedReward,
} from './reward.js';
import { softOverlongPunishment } from './soft-overlong-punishment.js';
import { stopProperly } from './stop-properly.js';

/** What is called to get a reward, and was perhaps not. */
const MAKERS: ReadonlySet<unknown> = new Set([
  exactMatch,
  formatTags,
  lengthPenalty,
  numericMatch,
  softOverlongPunishment,
  cosineLength,
  instructionConstraints,
  lengthTarget,
  normalizedMatch,
  repetitionPenalty,
  rubric,
  stopProperly,
  tokenF1,
]);

/** What `rewards` must be. */
export const REWARDS = 'an object of verifiers or functions by name, as { correct: numericMatch() }';

export const isRewards = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;

const isReward = (value: unknown): boolean =>
  typeof value === 'function' || typeof (value as Partial<Verifier> | null | undefined)?.verify === 'function';

/** Rewards with their names and weights. @throws OptionError for one that is none, or weighs no finite number */
export function weightedRewardsOf<Row extends PromptRow>(
  rewards: Rewards<Row>,
): ({ readonly name: string } & WeightedReward<Row>)[] {
  return Object.entries(rewards).map(([name, entry]) => {
    const wrong = (problem: string) =>
      new OptionError('INVALID_OPTION', 'rewards', name, `the reward "${name}" ${problem}`);
    const maker = [entry, (entry as Partial<WeightedReward<Row>> | undefined)?.verifier].find((it) => MAKERS.has(it));
    if (typeof maker === 'function')
      throw wrong(`is ${maker.name}, which makes a reward: call it, as ${maker.name}().`);
    if (isReward(entry)) return { name, verifier: entry as WeightedReward<Row>['verifier'], weight: 1 };
    const { verifier, weight } = (entry ?? {}) as WeightedReward<Row>;
    if (!isReward(verifier)) {
      const kinds = 'a verifier, a function, or { verifier, weight } with one of these';
      throw wrong(`must be ${kinds}, and is ${showValue(entry)}.`);
    }
    if (!Number.isFinite(weight)) throw wrong(`has the weight ${showValue(weight)}; it must be a finite number.`);
    return { name, verifier, weight };
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
  for (const { name, verifier } of weightedRewardsOf(rewards)) {
    const { cannotScore } = verifier as Partial<ChecksRows>;
    const [first] = rows;
    if (!cannotScore || first === undefined || rows.some((row) => cannotScore(row) === undefined)) continue;
    const problem = `the reward "${name}" can score none of the ${rows.length} rows. Of the first: ${cannotScore(first)}.`;
    throw new OptionError('INVALID_OPTION', where, 'rewards', problem);
  }
}

/** What decides a run of rewards: their names, weights, source text and settings, under names that its checkpoints keep. */
export function rewardSettings<Row extends PromptRow>(rewards: Rewards<Row>): DecisiveSettings {
  const settings = weightedRewardsOf(rewards).map(({ name, verifier, weight }) => {
    const own = settingsOf(verifier);
    // Of an instance of a class, what it says of itself: a reward model is another one under another name.
    const isNamed = typeof verifier === 'object' && typeof own === 'string';
    return [name, { reward: isNamed ? `${own} ${verifier.name}` : verifier, weight }];
  });
  return settingsOf(Object.fromEntries(settings)) as DecisiveSettings;
}

const scoreOptions = declare('scoreCompletions', {
  /** Most reward calls that run at one time; a verifier's is one call. Default 16. */
  concurrency: integer({ default: 16, min: 1 }),
  /**
   * Milliseconds for one completion, for asynchronous rewards, as nothing can stop a synchronous one; a verifier gets all
   * completions at once, and so many times as long. Default 60 000.
   */
  timeoutMs: integer({ default: 60_000, min: 1, max: LONGEST_TIMER_MS }),
  /**
   * What becomes of a completion of which a reward throws, takes too long, or returns no number: the run ends with a RewardError (`throw`), or the
   * completion is not scorable (`null`), which the metric `rewards/NAME/failed` counts. Of a verifier that fails, all that it was asked about are.
   * Default `throw`.
   */
  onError: oneOf(['throw', 'null'], { default: 'throw' }),
  /** Stops the scoring: it rejects with the signal's reason. */
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
});

/** Options of `scoreCompletions`. */
export type ScoreOptions = Given<typeof scoreOptions>;

/** A completion to be scored. */
export interface CompletionToScore<Row extends PromptRow> extends Omit<RewardContext<Row>, 'signal'> {
  readonly text: string;
}

/** What `scoreCompletions` gives. */
export interface Scores {
  /** Per reward, one number or null per completion. */
  readonly byFunction: Readonly<Record<string, readonly (number | null)[]>>;
  /** Σ weight · reward over those that could score it; null where none could, or one failed. */
  readonly rewards: readonly (number | null)[];
  /** Of each completion what failed, by reward; undefined where nothing did. */
  readonly failures: readonly (Readonly<Record<string, string>> | undefined)[];
}

/**
 * Asks every reward about every completion. Verifiers get them together, functions one at a time.
 *
 * @throws OptionError; RewardError naming the reward that threw, ran out of time or returned something else than a number or
 *   null; the signal's reason
 */
export async function scoreCompletions<Row extends PromptRow>(
  rewards: Rewards<Row>,
  completions: readonly CompletionToScore<Row>[],
  options: ScoreOptions = {},
): Promise<Scores> {
  const { concurrency, timeoutMs, signal, onError } = scoreOptions.read(options);
  assertArgument('scoreCompletions', 'rewards', rewards, isRewards(rewards), REWARDS);
  assertArgument('scoreCompletions', 'completions', completions, Array.isArray(completions), 'a list of completions');
  const weighted = weightedRewardsOf(rewards);
  const limiter = createLimiter(concurrency);
  if (completions.length === 0) {
    return { byFunction: Object.fromEntries(weighted.map(({ name }) => [name, []])), rewards: [], failures: [] };
  }
  const failures = completions.map((): Record<string, string> => ({}));
  const ask = onError === 'throw' ? askReward : askLeniently;
  const scores = await allOrAbort(
    [signal],
    weighted.map(
      ({ name, verifier }) =>
        (stop: AbortSignal) =>
          ask(name, verifier, completions, { limiter, timeoutMs, signal: stop }, failures),
    ),
  );
  return {
    byFunction: Object.fromEntries(weighted.map(({ name }, f) => [name, scores[f]!])),
    failures: failures.map((own) => (Object.keys(own).length > 0 ? own : undefined)),
    rewards: completions.map((completion, i) => {
      // A sum without what failed is no number to compare with the others.
      if (Object.keys(failures[i]!).length > 0) return null;
      const there = weighted.flatMap(({ weight }, f) => (scores[f]![i] === null ? [] : [weight * scores[f]![i]!]));
      if (there.length === 0) return null;
      const sum = there.reduce((a, b) => a + b);
      // Rewards are trained with in float32.
      if (Number.isFinite(Math.fround(sum))) return sum;
      const names = weighted.map(({ name }) => name).join(' + ');
      throw new RewardError(names, `add up to ${sum} with their weights, which float32 cannot hold`, completion);
    }),
  };
}

interface Limits {
  readonly limiter: Limiter;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The scores of one reward, each completion by itself where it is a function; null and why where it failed. */
async function askLeniently<Row extends PromptRow>(
  name: string,
  reward: WeightedReward<Row>['verifier'],
  completions: readonly CompletionToScore<Row>[],
  limits: Limits,
  failures: readonly Record<string, string>[],
): Promise<(number | null)[]> {
  const places = completions.map((_, i) => i);
  const asked = typeof reward === 'function' ? places.map((i) => [i]) : [places];
  const scores = await allOrAbort(
    [limits.signal],
    asked.map((together) => async (signal: AbortSignal) => {
      const those = together.map((i) => completions[i]!);
      try {
        return await askReward(name, reward, those, { ...limits, signal });
      } catch (error) {
        if (!(error instanceof RewardError)) throw error;
        for (const i of together) failures[i]![name] = error.message;
        return those.map(() => null);
      }
    }),
  );
  return scores.flat();
}

/** The scores of one reward. */
async function askReward<Row extends PromptRow>(
  name: string,
  reward: WeightedReward<Row>['verifier'],
  completions: readonly CompletionToScore<Row>[],
  { limiter, timeoutMs, signal }: Limits,
): Promise<(number | null)[]> {
  const requestsUntil = (end: AbortSignal) =>
    completions.map(({ text, completionTokens, ...rest }) => ({
      ...rest,
      row: rest.row as Row & Readonly<Record<string, unknown>>,
      completion: text,
      tokenIds: completionTokens,
      signal: end,
    }));
  try {
    if (typeof reward === 'function') {
      const verifier = functionVerifier(name, (request) => callFunction(reward, request), { limiter, timeoutMs });
      return scoresOf(name, await verifier.verify(requestsUntil(signal)), completions);
    }
    const patience = Math.min(LONGEST_TIMER_MS, timeoutMs * completions.length);
    const verdicts = await limiter(() =>
      withDeadline((deadline) => reward.verify(requestsUntil(deadline)), {
        ...{ signal, timeoutMs: patience },
        timeoutError: () =>
          new RewardError(name, `took longer than ${patience} ms for ${completions.length} completions`),
      }),
    );
    return scoresOf(name, verdicts, completions);
  } catch (error) {
    if (signal.aborted && error === signal.reason) throw error;
    throw rewardError(name, error, completions, timeoutMs);
  }
}

/** Calls a reward function with what it knows of a completion. */
const callFunction = <Row extends PromptRow>(reward: RewardFunction<Row>, request: VerifyRequest) => {
  const { completion, tokenIds, finishReason, step, prompt, row, signal, messages } = request;
  const { group, episodeReward, turnRewards } = request as RewardRequest;
  return reward(completion, {
    ...(group !== undefined && { group }),
    ...(messages && { messages }),
    ...(episodeReward !== undefined && { episodeReward }),
    ...(turnRewards && { turnRewards }),
    ...{ prompt, row: row as unknown as Row, completionTokens: tokenIds! },
    ...{ finishReason: finishReason!, step: step!, signal: signal! },
  });
};

function scoresOf(
  name: string,
  verdicts: readonly Verdict[],
  completions: readonly CompletionToScore<PromptRow>[],
): (number | null)[] {
  if (!Array.isArray(verdicts) || verdicts.length !== completions.length) {
    const count = Array.isArray(verdicts) ? verdicts.length : 'no';
    throw new RewardError(name, `returned ${count} verdicts for ${completions.length} completions`);
  }
  return verdicts.map((verdict: Verdict | undefined, i) => {
    const score = verdict?.score;
    if (score === null || (typeof score === 'number' && Number.isFinite(score))) return score;
    throw new RewardError(
      name,
      `returned ${String(score)}; return a finite number, or null for "not scorable"`,
      completions[i],
    );
  });
}

/** Any failure in the words of rewards: by the name that the run knows, and with the prompt. */
function rewardError(
  name: string,
  error: unknown,
  completions: readonly CompletionToScore<PromptRow>[],
  timeoutMs: number,
): RewardError {
  if (error instanceof RewardError) return error;
  if (error instanceof VerifierTimeoutError) {
    return new RewardError(name, `took longer than ${timeoutMs} ms`, completions[error.index]);
  }
  const failed = error instanceof VerifierFailedError ? error : undefined;
  const cause = failed ? failed.cause : error;
  if (cause instanceof RewardError) return cause;
  if (failed && cause === undefined) return new RewardError(name, failed.problem, completions[failed.index]);
  const message = cause instanceof Error || isPosttrainError(cause) ? cause.message : String(cause);
  return new RewardError(name, `threw: ${message}`, failed && completions[failed.index], { cause });
}
