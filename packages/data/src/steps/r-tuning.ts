import {
  custom,
  type Generator,
  type Given,
  integer,
  number,
  options,
  text as textOption,
  type Verifier,
} from '@posttrain/interfaces';
import { DataStepError, RowError } from '../errors.js';
import { ownValue, type Row } from '../rows.js';
import type { DataStep } from '../step.js';

const rTuningOptions = options('rTuning', {
  /** The model that is to be tuned, as it is; a finished stage is known again by its name. */
  generator: custom<Generator>()(
    'a Generator: an object with a name and generate(requests)',
    (value) => typeof (value as Partial<Generator> | null)?.generate === 'function',
    { settings: ({ name }) => name },
  ),
  /** What says whether an answer is right; it gets the row. */
  verifier: custom<Verifier>()(
    'a Verifier: an object with a name and verify(requests)',
    (value) => typeof (value as Partial<Verifier> | null)?.verify === 'function',
    { settings: ({ name }) => name },
  ),
  /** Column of the prompt, a text. Default `prompt`. */
  prompt: textOption({ default: 'prompt' }),
  /** Column of the right answer. Default `completion`. */
  completion: textOption({ default: 'completion' }),
  /** Answers of the model to each prompt: one, the most likely, or several that are drawn. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Tokens of an answer at most. Default 256. */
  maxTokens: integer({ default: 256, min: 1 }),
  /** An answer is right where its score is above this. Default 0.5. */
  rightAbove: number({ default: 0.5 }),
  /** The part of the answers that must be right for the model to know. Default 0.5. */
  knownFrom: number({ default: 0.5, above: 0, max: 1 }),
  /** Behind the answer to what the model knows. Default ` I am sure.` */
  sure: textOption({ default: ' I am sure.' }),
  /** Behind the answer to what it does not. Default ` I am unsure.` */
  unsure: textOption({ default: ' I am unsure.' }),
  /** In the place of the answer to what it does not know, a refusal such as ` I do not know.` Default: the answer, and `unsure`. */
  refusal: textOption({ optional: true }),
  /** Prompts of one call of the generator. Default 32. */
  batchSize: integer({ default: 32, min: 1, decisive: false }),
});
/** Options of `rTuning`. */
export type RTuningOptions = Given<typeof rTuningOptions>;

/** What `rTuning` adds to a row. */
export interface RTuningRow extends Row {
  /** The part of the model's answers that were right. */
  readonly known: number;
}

/**
 * R-Tuning, refusal-aware instruction tuning (arXiv 2311.09677 §3): the model answers every question before it is tuned; where it is
 * right the row's answer is followed by `sure`, where it is not by `unsure`, or `refusal` stands in its place. So it learns to say what
 * it does not know, and not to invent. The column `known` is added; rows whose answers cannot be judged are dropped.
 *
 * @throws OptionError; RowError for a row without one of its texts; DataStepError for a generator or verifier that leaves some out
 */
export function rTuning(given: RTuningOptions): DataStep<Row, RTuningRow> {
  const settings = rTuningOptions.read(given);
  const { generator, verifier, prompt, completion, samples, maxTokens, batchSize, rightAbove, refusal } = settings;
  const name = 'r-tuning';
  const textOf = (row: Row, column: string, rowNumber: number): string => {
    const value = ownValue(row, column);
    if (typeof value === 'string' && value !== '') return value;
    throw new RowError(rowNumber, column, 'must be a text that is not empty.');
  };
  return {
    name,
    version: JSON.stringify(rTuningOptions.settings(given)),
    async *apply(rows, context) {
      let [waiting, first]: [Row[], number] = [[], 1];
      async function* answered(): AsyncGenerator<RTuningRow> {
        const prompts = waiting.map((row, i) => textOf(row, prompt, first + i));
        const right = waiting.map((row, i) => textOf(row, completion, first + i));
        const sampling = samples === 1 ? { temperature: 0 } : {};
        const answers = await generator.generate(
          prompts.map((asked, i) => {
            const seed = context.random(context.keyOf(waiting[i]!).id).uint32();
            return { prompt: asked, n: samples, maxTokens, seed, ...sampling };
          }),
        );
        if (answers.length !== waiting.length || answers.some((one) => one.length !== samples)) {
          throw new DataStepError(
            name,
            first,
            `the generator did not give ${samples} answers to each of ${waiting.length} prompts.`,
          );
        }
        const requests = answers.flatMap((ofRow, i) =>
          ofRow.map(({ text }) => ({ prompt: prompts[i]!, completion: text, row: waiting[i]! })),
        );
        const verdicts = await verifier.verify(requests);
        if (verdicts.length !== requests.length) {
          throw new DataStepError(
            name,
            first,
            `the verifier gave ${verdicts.length} verdicts on ${requests.length} answers.`,
          );
        }
        context.signal.throwIfAborted();
        for (const [i, row] of waiting.entries()) {
          const scores = verdicts.slice(i * samples, (i + 1) * samples).flatMap(({ score }) => score ?? []);
          if (scores.length === 0) {
            context.drop(row, 'no answer could be judged');
            continue;
          }
          const known = scores.filter((score) => score > rightAbove).length / scores.length;
          const isKnown = known >= settings.knownFrom;
          const said = isKnown ? right[i]! + settings.sure : (refusal ?? right[i]! + settings.unsure);
          yield context.derive({ ...row, [completion]: said, known }, row);
        }
        [waiting, first] = [[], first + waiting.length];
      }
      for await (const row of rows) {
        waiting.push(row);
        if (waiting.length === batchSize) yield* answered();
      }
      if (waiting.length > 0) yield* answered();
    },
  };
}
