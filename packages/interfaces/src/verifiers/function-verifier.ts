import { allOrAbort, createLimiter, type Limiter, LONGEST_TIMER_MS, withDeadline } from '../concurrency/index.js';
import { custom, integer } from '../options/option.js';
import { assertArgument } from '../options/option-error.js';
import { options as declare, type Given } from '../options/options.js';
import { type DecisiveSettings, type HasSettings, settingsOf } from '../settings.js';
import type { Verdict, Verifier, VerifyRequest } from '../verify.js';
import { type Culprit, VerifierFailedError, VerifierTimeoutError } from './errors.js';

/** A score, right or wrong (1 or 0), `null` for "not scorable", or a whole verdict. */
export type VerifierResult = number | boolean | null | Verdict;

const shape = {
  /** Calls running at a time, over all batches. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
  /** A limiter shared with others, in the place of `concurrency`. */
  limiter: custom<Limiter>()('a limiter of createLimiter', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
  /**
   * Milliseconds one call may take. Default: no limit. When over, `request.signal` fires and the verifier throws a
   * `VerifierTimeoutError` that names it and the completion. A synchronous function cannot be interrupted.
   */
  timeoutMs: integer({ optional: true, min: 1, max: LONGEST_TIMER_MS, decisive: false }),
  /** What the function was made with, which a resumed run must share. Default: its name and a hash of its source. */
  settings: custom<DecisiveSettings>()('an object of texts, numbers and booleans', isObject, { optional: true }),
};

/** Options of `functionVerifier`. */
export type FunctionVerifierOptions = Given<ReturnType<typeof optionsOf>>;

const optionsOf = (where: string) => declare(where, shape);

/**
 * A verifier from a function, which may be asynchronous. The function's `request.signal` fires on time-out, on the
 * caller's abort and when another call of the same batch fails. Throws `VerifierFailedError` when the function throws
 * or returns something that is not a score.
 *
 * @throws OptionError
 */
export function functionVerifier(
  name: string,
  fn: (request: VerifyRequest) => VerifierResult | Promise<VerifierResult>,
  options: FunctionVerifierOptions = {},
): Verifier & HasSettings {
  assertArgument('functionVerifier', 'name', name, typeof name === 'string', 'a text, in front of the function');
  const where = `functionVerifier "${name}"`;
  assertArgument(where, 'fn', fn, typeof fn === 'function', 'a function of a request that gives a score');
  const { concurrency, timeoutMs, limiter, settings } = optionsOf(where).read(options);
  const limit = limiter ?? createLimiter(concurrency);

  const judge = async (request: VerifyRequest, index: number, signal: AbortSignal): Promise<Verdict> => {
    const culprit: Culprit = { verifier: name, index, completion: request.completion };
    const call = async (deadline: AbortSignal) => {
      let result: VerifierResult;
      try {
        result = await fn({ ...request, signal: deadline });
      } catch (error) {
        if (deadline.aborted) throw deadline.reason;
        throw new VerifierFailedError(culprit, `failed: ${String(error)}`, { cause: error });
      }
      return toVerdict(result, culprit);
    };
    const timeoutError = () => new VerifierTimeoutError(culprit, timeoutMs!);
    return withDeadline(call, { signal, timeoutMs, timeoutError });
  };

  return {
    name,
    settings: settings ?? (settingsOf({ function: fn }) as DecisiveSettings),
    verify: (requests) =>
      allOrAbort(
        requests.map(({ signal }) => signal),
        requests.map((request, index) => (signal: AbortSignal) => judge(request, index, signal)),
        limit,
      ),
  };
}

function toVerdict(result: VerifierResult, culprit: Culprit): Verdict {
  const verdict = isVerdict(result) ? result : { score: result };
  const score = typeof verdict.score === 'boolean' ? Number(verdict.score) : verdict.score;
  if (score !== null && !Number.isFinite(score)) {
    throw new VerifierFailedError(
      culprit,
      `returned ${String(score)}; return a finite number, a boolean, null for "not scorable", or a verdict.`,
    );
  }
  return { ...verdict, score };
}

const isVerdict = (result: VerifierResult): result is Verdict => isObject(result) && 'score' in (result as object);

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}
