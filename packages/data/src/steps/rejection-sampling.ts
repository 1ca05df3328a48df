import {
  custom,
  type Given,
  integer,
  number,
  oneOf,
  options,
  PosttrainError,
  type Verifier,
} from '@posttrain/interfaces';
import type { DataStep, StepContext } from '../step.js';
import { differentEquations } from './different-equations.js';
import { eachRow, type ProblemRow, type RolloutRow, rolloutRow, rolloutShape } from './rollouts.js';

const { generator, sampling } = rolloutShape;
const rejectionOptions = options('rejectionSampling', {
  /** The model that is sampled from. */
  generator,
  sampling,
  /** All of whom a completion must satisfy: of its answer, of its form, of its language. */
  verifiers: custom<readonly Verifier[]>()(
    'a list of verifiers, at least one',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((one: Partial<Verifier> | null) => typeof one?.verify === 'function'),
    { settings: (verifiers) => verifiers.map(({ name }) => name).join(', ') },
  ),
  /** The score that satisfies each of them. Default 1. */
  threshold: number({ default: 1 }),
  /** Completions that are drawn of each prompt. Default 16. */
  samples: integer({ default: 16, min: 1 }),
  /** Most completions of a prompt that are kept, the first that were drawn. Default: all that are different. */
  most: integer({ optional: true, min: 1 }),
  /** Which of those that are accepted are different: `text`, all that are not equal; `equations`, one of each list of equations in `<<3+4=7>>` (`differentEquations`), as RFT has it for GSM8K. Default `'text'`. */
  distinct: oneOf(['text', 'equations'], { default: 'text' }),
  /** Prompts that are sampled at one time. Default 16. */
  concurrency: integer({ default: 16, min: 1, decisive: false }),
});
/** Options of `rejectionSampling`. */
export type RejectionSamplingOptions = Given<typeof rejectionOptions>;

/** Where a kept completion came from. */
export interface SampleProvenance {
  /** Name of the generator. */
  readonly generator: string;
  /** Of the request for the prompt's completions, and which of them it is, from 0: drawn again, it is the same one. */
  readonly seed: number;
  readonly sample: number;
  /** What was drawn of its prompt, and how much of that was accepted (equal completions counted each time). */
  readonly drawn: number;
  readonly accepted: number;
  /** By verifier. */
  readonly scores: Readonly<Record<string, number>>;
}

/** A completion that was accepted. */
export interface AcceptedSample {
  readonly completion: string;
  readonly provenance: SampleProvenance;
}

/** A row with a completion that was accepted. */
export type AcceptedRow<R> = Omit<R, keyof AcceptedSample> & AcceptedSample;

/**
 * Rejection sampling for fine-tuning (RFT, arXiv 2308.01825 §3.3; the data of DeepSeek-R1's second fine-tuning, 2501.12948 §2.3.3): of every
 * row's `prompt` so many completions, of which those stay that every verifier scores with at least the threshold; equal ones once, or one of each list of equations. A row comes
 * out once for each, with `completion` and `provenance`; a prompt without any is dropped and counted, as is one that a verifier cannot score.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE` for a generator or verifier that answers for others
 *   than were asked about
 */
export function rejectionSampling<R extends ProblemRow>(given: RejectionSamplingOptions): DataStep<R, AcceptedRow<R>> {
  const settings = rejectionOptions.read(given);
  return {
    name: 'rejection sampling',
    version: JSON.stringify(rejectionOptions.settings(given)),
    apply: (rows, context) =>
      eachRow(rows, context, settings.concurrency, async (row, rowNumber) => {
        const of = rolloutRow(row, rowNumber, context);
        const accepted = await acceptedOf(of, settings, context);
        if (accepted.length === 0) context.drop(row, 'no completion was accepted');
        return accepted.map((one) => context.derive({ ...row, ...one } as AcceptedRow<R>, row, one.provenance.sample));
      }),
  };
}

async function acceptedOf<R extends ProblemRow>(
  { row, prompt, id }: RolloutRow,
  {
    generator: model,
    verifiers,
    threshold,
    samples,
    most = samples,
    distinct,
    sampling: given,
  }: ReturnType<typeof rejectionOptions.read>,
  { random, signal }: StepContext<R>,
): Promise<AcceptedSample[]> {
  const seed = random(id).integer(0, 2 ** 31 - 1);
  const [drawn = []] = await model.generate([{ ...given, prompt, n: samples, seed, signal }]);
  if (drawn.length !== samples) {
    const problem = `${model.name} returned ${drawn.length} completions where ${samples} were asked for`;
    throw new PosttrainError('BAD_RESPONSE', problem);
  }
  const requests = drawn.map(({ text: completion, finishReason }) => ({
    ...{ prompt, completion, finishReason, row: row as Readonly<Record<string, unknown>>, signal },
  }));
  const verdicts = await Promise.all(verifiers.map((verifier) => verifier.verify(requests)));
  const wrong = verdicts.findIndex((own) => own.length !== samples);
  if (wrong >= 0) {
    const problem = `${verifiers[wrong]!.name} returned ${verdicts[wrong]!.length} verdicts for ${samples} completions`;
    throw new PosttrainError('BAD_RESPONSE', problem);
  }
  const satisfying = drawn.flatMap(({ text }, sample) => {
    const scores = verifiers.map(({ name }, v) => [name, verdicts[v]![sample]!.score] as const);
    const isAccepted = scores.every(([, score]) => score !== null && score >= threshold);
    return isAccepted ? [{ text, sample, scores: Object.fromEntries(scores) as Record<string, number> }] : [];
  });
  const first = satisfying.filter(({ text }, i) => satisfying.findIndex((other) => other.text === text) === i);
  const different =
    distinct === 'text' ? first : differentEquations(first.map(({ text }) => text)).map((at) => first[at]!);
  return different.slice(0, most).map(({ text, sample, scores }) => ({
    completion: text,
    provenance: {
      ...{ generator: model.name, seed, sample, drawn: samples, accepted: satisfying.length, scores },
    },
  }));
}
