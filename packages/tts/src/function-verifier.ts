import {
  assertArgument,
  assertKnownOptions,
  type Verdict,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { allOrAbort, createLimiter, withDeadline } from './concurrency.js';
import { assertMilliseconds, excerpt, VerifierFailedError, VerifierTimeoutError } from './errors.js';

/** A score, right or wrong (1 or 0), `null` for "not scorable", or a whole verdict. */
export type VerifierResult = number | boolean | null | Verdict;

export interface FunctionVerifierOptions {
  /** Calls running at a time. Default 8. */
  readonly concurrency?: number;
  /**
   * Milliseconds one call may take. Default: no limit. When over, `request.signal` fires and the verifier throws a
   * `VerifierTimeoutError` that names it and the completion. A synchronous function cannot be interrupted.
   */
  readonly timeoutMs?: number;
}

/**
 * A verifier from a function, which may be asynchronous. The function's `request.signal` fires on time-out, on the
 * caller's abort and when another call of the same batch fails. Throws `VerifierFailedError` when the function throws
 * or returns something that is not a score.
 */
export function functionVerifier(
  name: string,
  fn: (request: VerifyRequest) => VerifierResult | Promise<VerifierResult>,
  options: FunctionVerifierOptions = {},
): Verifier {
  assertArgument('functionVerifier', 'name', name, typeof name === 'string', 'a text, in front of the function');
  const where = `functionVerifier "${name}"`;
  assertArgument(where, 'fn', fn, typeof fn === 'function', 'a function of a request that gives a score');
  assertKnownOptions(where, options, ['concurrency', 'timeoutMs']);
  const { concurrency = 8, timeoutMs } = options;
  if (timeoutMs !== undefined) assertMilliseconds(`${where}: timeoutMs`, timeoutMs, 1);
  const limit = createLimiter(`${where}: concurrency`, concurrency);

  const judge = async (request: VerifyRequest, index: number, signal: AbortSignal): Promise<Verdict> => {
    const culprit = `verifier "${name}" on completion ${index} ("${excerpt(request.completion)}")`;
    const call = async (deadline: AbortSignal) => {
      let result: VerifierResult;
      try {
        result = await fn({ ...request, signal: deadline });
      } catch (error) {
        if (deadline.aborted) throw deadline.reason;
        throw new VerifierFailedError(`${culprit} failed: ${String(error)}`, { cause: error });
      }
      return toVerdict(result, culprit);
    };
    const timeoutError = () => new VerifierTimeoutError(`${culprit} took longer than ${timeoutMs} ms.`);
    return withDeadline(call, { signal, timeoutMs, timeoutError });
  };

  return {
    name,
    verify: (requests) =>
      allOrAbort(
        requests.map(({ signal }) => signal),
        requests.map((request, index) => (signal: AbortSignal) => judge(request, index, signal)),
        limit,
      ),
  };
}

function toVerdict(result: VerifierResult, culprit: string): Verdict {
  const verdict = typeof result === 'object' && result !== null ? result : { score: result };
  const score = typeof verdict.score === 'boolean' ? Number(verdict.score) : verdict.score;
  if (score !== null && !Number.isFinite(score)) {
    throw new VerifierFailedError(
      `${culprit} returned ${String(score)}; return a finite number, a boolean, null for "not scorable", or a verdict.`,
    );
  }
  return { ...verdict, score };
}
