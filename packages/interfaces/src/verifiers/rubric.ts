import { createLimiter, LONGEST_TIMER_MS, linkedController, withDeadline } from '../concurrency/index.js';
import { custom, integer, number, oneOf, text } from '../options/option.js';
import { OptionError, showValue } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';
import type { Prompt } from '../prompt.js';
import type { HasSettings } from '../settings.js';
import type { Verdict, Verifier, VerifyRequest } from '../verify.js';
import { VerifierFailedError, VerifierInputError, VerifierTimeoutError } from './errors.js';
import { columnOf } from './reference.js';

/** Something that an answer is to be, and how much that counts; below 0 it is something that it is not to be. */
export interface Criterion {
  readonly description: string;
  readonly weight: number;
}

const isVerifier = (value: unknown): boolean => typeof (value as Partial<Verifier> | null)?.verify === 'function';

const rubricOptions = options('rubric', {
  /**
   * Who judges, at least one; the mean of them counts. Each is asked about one criterion of one completion at a time, which it finds as
   * `criterion` in the row: `judge({ generator, prompt: criterionPrompt })` of `@posttrain/openai`, a reward model, a rule.
   */
  judges: custom<readonly Verifier[]>()(
    'a list of verifiers, at least one',
    (value) => Array.isArray(value) && value.length > 0 && value.every(isVerifier),
    { settings: (judges) => judges.map(({ name }) => name).join(', ') },
  ),
  /** Column with a row's criteria: `{ description, weight }` each, or texts of weight 1. Default `rubrics`. */
  column: text({ default: 'rubrics' }),
  /** What a judge says of an answer that does not meet a criterion at all. Default 0. */
  worst: number({ default: 0 }),
  /** What it says of one that meets it. Default 1. */
  best: number({ default: 1 }),
  /** Judgements that run at a time, over all batches. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
  /** Milliseconds of one judgement. Default 60 000. */
  timeoutMs: integer({ default: 60_000, min: 1, max: LONGEST_TIMER_MS, decisive: false }),
  /**
   * What becomes of a completion of which a judgement fails, is late or has no score: an error (`throw`), not scorable (`null`), or that criterion is not
   * met (`zero`, as open-instruct has it). Default `throw`; a judge's own null is then not scorable.
   */
  onFailure: oneOf(['throw', 'null', 'zero'], { default: 'throw' }),
});
/** Options of `rubric`. */
export type RubricOptions = Given<typeof rubricOptions>;

/** What a judge is asked about one criterion: the question, the answer, and the criterion. */
export function criterionPrompt({ prompt, completion, row }: VerifyRequest): Prompt {
  const last = typeof prompt === 'string' ? prompt : (prompt.at(-1)?.content ?? '');
  const content =
    `Below are a question, an answer to it and one criterion. Rate by this criterion alone how far the answer meets it, ` +
    `and give the rating as [[n]], where n is from 0 (not at all) to 1 (entirely).\n\n` +
    `Question:\n${last}\n\nAnswer:\n${completion}\n\nCriterion:\n${String(row?.criterion)}`;
  return [{ role: 'user', content }];
}

/**
 * A rubric: criteria of a row, each with a weight, judged one by one (as open-instruct's rubric reward; rubrics as rewards, arXiv 2507.17746). With
 * s_c from 0 to 1, by which criterion c is met,
 *
 *   Σ_c w_c s_c / Σ_c |w_c|
 *
 * so that what an answer is not to be has a weight below 0. The verdict's explanation has the criteria.
 *
 * @throws OptionError; VerifierInputError for a row without criteria; VerifierFailedError, VerifierTimeoutError with `onFailure: 'throw'`
 */
export function rubric(given: RubricOptions): Verifier & HasSettings {
  const { judges, column, worst, best, concurrency, timeoutMs, onFailure } = rubricOptions.read(given);
  if (worst === best) {
    throw new OptionError('INVALID_OPTION', 'rubric', 'best', `best and worst are both ${best}; they must differ.`);
  }
  const limiter = createLimiter(concurrency);
  const name = `rubric(${judges.map((judge) => judge.name).join(', ')})`;

  /** From 0 to 1; null where a judge says so. */
  const judged = async (
    judge: Verifier,
    request: VerifyRequest,
    criterion: Criterion,
    index: number,
    stop: AbortSignal,
  ) => {
    const culprit = {
      verifier: `${name}, on ${JSON.stringify(criterion.description)}`,
      index,
      completion: request.completion,
    };
    const row = { ...request.row, criterion: criterion.description };
    const ask = async (signal: AbortSignal) => {
      const [verdict] = await judge.verify([{ ...request, row, signal }]);
      return verdict;
    };
    const timeoutError = () => new VerifierTimeoutError(culprit, timeoutMs);
    try {
      const verdict = await limiter(() => withDeadline(ask, { signal: stop, timeoutMs, timeoutError }));
      const score = verdict?.score;
      if (score === null) return null;
      if (!Number.isFinite(score))
        throw new VerifierFailedError(culprit, `was given ${showValue(score)} by ${judge.name}`);
      const met = (score! - worst) / (best - worst);
      if (met < 0 || met > 1)
        throw new VerifierFailedError(culprit, `was given ${score} by ${judge.name}, off the scale`);
      return met;
    } catch (error) {
      if (stop.aborted) throw error;
      if (onFailure === 'throw') {
        if (error instanceof VerifierFailedError || error instanceof VerifierTimeoutError) throw error;
        throw new VerifierFailedError(culprit, `failed: ${String(error)}`, { cause: error });
      }
      return null;
    }
  };

  const verdictOf = async (request: VerifyRequest, index: number, stop: AbortSignal): Promise<Verdict> => {
    const criteria = criteriaOf(column, request);
    const met = await Promise.all(
      criteria.map(async (criterion) => {
        const all = await Promise.all(judges.map((judge) => judged(judge, request, criterion, index, stop)));
        const known = all.map((one) => (one === null && onFailure === 'zero' ? 0 : one));
        return known.includes(null) ? null : known.reduce<number>((sum, one) => sum + one!, 0) / judges.length;
      }),
    );
    const explanation = criteria.map(({ description }, i) => `${met[i] ?? 'not judged'}: ${description}`).join('\n');
    if (met.includes(null)) return { score: null, explanation };
    const total = criteria.reduce((sum, { weight }) => sum + Math.abs(weight), 0);
    return { score: criteria.reduce((sum, { weight }, i) => sum + weight * met[i]!, 0) / total, explanation };
  };

  return {
    name,
    settings: rubricOptions.settings(given),
    async verify(requests) {
      const { controller, dispose } = linkedController([...new Set(requests.map(({ signal }) => signal))]);
      try {
        return await Promise.all(requests.map((request, i) => verdictOf(request, i, controller.signal)));
      } catch (error) {
        // What still runs is not needed any more.
        controller.abort(error);
        throw error;
      } finally {
        dispose();
      }
    },
  };
}

function criteriaOf(column: string, { row }: VerifyRequest): readonly Criterion[] {
  const given = columnOf('rubric', column, row);
  const criteria = (Array.isArray(given) ? given : []).map((one: unknown): Criterion => {
    if (typeof one === 'string') return { description: one, weight: 1 };
    const { description, weight = 1 } = (one ?? {}) as Partial<Criterion>;
    return { description: description!, weight };
  });
  const isCriterion = ({ description, weight }: Criterion) =>
    typeof description === 'string' && description.trim() !== '' && Number.isFinite(weight);
  if (criteria.length > 0 && criteria.every(isCriterion) && criteria.some(({ weight }) => weight !== 0))
    return criteria;
  const problem = `the column "${column}" is ${showValue(given)}; it must be a list of { description, weight }, one with a weight other than 0.`;
  throw new VerifierInputError(`rubric: ${problem}`);
}
