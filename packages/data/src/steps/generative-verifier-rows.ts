import { type Given, options, type Prompt, text } from '@posttrain/interfaces';
import { VERIFICATION_ANSWERS, verificationPrompt } from '@posttrain/interfaces/verifiers';
import { RowError } from '../errors.js';
import { kindOf } from '../rows.js';
import type { DataStep } from '../step.js';

const generativeVerifierRowsOptions = options('generativeVerifierRows', {
  /** What follows the solution, as `generativeVerifier` is told. Default: as there. */
  question: text({ optional: true }),
});
/** Options of `generativeVerifierRows`. */
export type GenerativeVerifierRowsOptions = Given<typeof generativeVerifierRowsOptions>;

/** A solution, and whether it is right. */
export interface VerifiedRow {
  readonly prompt: Prompt;
  readonly completion: string;
  readonly label: boolean;
  /** What a verifier may think of it (GenRM-CoT): rows with it teach to think, and then to say. */
  readonly thoughts?: string;
}

/** A row of `sft`. */
export interface VerificationRow {
  readonly prompt: Prompt;
  readonly completion: Prompt;
}

/**
 * Rows that make a language model a generative verifier by `sft` (GenRM, arXiv 2408.15240, §3): of `{ prompt, completion, label, thoughts? }` the question of
 * `generativeVerifier` as prompt and Yes or No as completion; with `thoughts` also these, as a completion of their own row (part `thoughts`).
 * The paper mixes them with rows of right solutions, which keep the model able to solve what it verifies.
 *
 * @throws RowError for another label than true or false, and a completion that is no text
 */
export function generativeVerifierRows(
  given: GenerativeVerifierRowsOptions = {},
): DataStep<VerifiedRow, VerificationRow> {
  const { question } = generativeVerifierRowsOptions.read(given);
  return {
    name: 'generative verifier rows',
    version: JSON.stringify(generativeVerifierRowsOptions.settings(given)),
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        rowNumber++;
        const { prompt, completion, label, thoughts } = row;
        if (typeof completion !== 'string')
          throw new RowError(rowNumber, 'completion', `must be a text, the solution, got ${kindOf(completion)}.`);
        if (typeof label !== 'boolean')
          throw new RowError(
            rowNumber,
            'label',
            `must be true or false, got ${kindOf(label)}; leave out what nobody knows.`,
          );
        const said = (content: string): Prompt =>
          typeof prompt === 'string' ? content : [{ role: 'assistant', content }];
        const asked = (of?: string | null) => verificationPrompt(row, question, of);
        if (thoughts !== undefined) {
          const thinking = { prompt: asked(null), completion: said(thoughts) };
          yield context.derive(thinking, row, 'thoughts');
        }
        const answer = label ? VERIFICATION_ANSWERS.right : VERIFICATION_ANSWERS.wrong;
        yield context.derive({ prompt: asked(thoughts), completion: said(answer) }, row);
      }
    },
  };
}
