import {
  custom,
  type Generator,
  type Given,
  integer,
  listOf,
  number,
  options,
  PosttrainError,
  type Prompt,
} from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, ownValue, type Row } from '../rows.js';
import { inBatches } from '../selection/feature-requests.js';
import type { DataStep } from '../step.js';

/** A principle of a constitution. */
export interface Principle {
  /** What the model is asked to find in its answer: "Say in which ways the answer is harmful." */
  readonly critique: string;
  /** What it is then asked to do: "Write the answer again without what is harmful." */
  readonly revision: string;
}

const isPrinciple = (value: unknown): boolean => {
  const { critique, revision } = (value ?? {}) as Partial<Principle>;
  return typeof critique === 'string' && typeof revision === 'string';
};

const constitutionalOptions = options('constitutionalRevision', {
  /** The model that answers, criticises itself and revises. */
  generator: custom<Generator>()(
    'a generator: an object with a name and generate(requests)',
    (value) => typeof (value as Generator | null)?.generate === 'function',
    { settings: ({ name }) => name },
  ),
  /** Of which one is drawn for every round of every row. */
  principles: listOf(custom<Principle>()('{ critique, revision }, both texts', isPrinciple, {}), {}),
  /** Critiques and revisions of each answer. Default 1. */
  rounds: integer({ default: 1, min: 1 }),
  /** Default 1. */
  temperature: number({ default: 1, min: 0 }),
  /** Most tokens of an answer, a critique or a revision. Default 512. */
  maxTokens: integer({ default: 512, min: 1 }),
  /** Rows that are asked about in one call. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `constitutionalRevision`. */
export type ConstitutionalRevisionOptions = Given<typeof constitutionalOptions>;

/** A round of critique and revision. */
export interface Revision {
  /** Place of the principle in the list. */
  readonly principle: number;
  readonly critique: string;
  readonly revision: string;
}

/** A row with its revised answer as `completion`, for supervised fine-tuning, and with how it came about. */
export type RevisedRow<R> = R & {
  readonly completion: string;
  /** The first answer. */
  readonly initial: string;
  readonly revisions: readonly Revision[];
};

/**
 * The supervised stage of Constitutional AI (arXiv 2212.08073 §3): of every row's `prompt` an answer, then round by round a critique of the
 * last answer by a principle that is drawn, and a revision by it. A row that has a `completion` begins with that. Rows come out with
 * `completion`, the last revision, `initial` and `revisions`. `pairJudge`, or `aiFeedback` with the same principles, is the judge of the
 * second stage.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE` for a generator that leaves requests out
 */
export function constitutionalRevision<R extends object = Row>(
  given: ConstitutionalRevisionOptions,
): DataStep<R, RevisedRow<R>> {
  const { generator, principles, rounds, temperature, maxTokens, batchSize } = constitutionalOptions.read(given);
  if (principles.length === 0) throw new PosttrainError('PRINCIPLES', 'constitutionalRevision: principles is empty');
  const ask = async (prompts: readonly Prompt[], signal: AbortSignal): Promise<string[]> => {
    const answers = await generator.generate(prompts.map((prompt) => ({ prompt, temperature, maxTokens, signal })));
    return prompts.map((_, i) => {
      const text = answers[i]?.[0]?.text;
      if (text !== undefined) return text;
      throw new PosttrainError(
        'BAD_RESPONSE',
        `${generator.name} gave no answer to request ${i} of ${prompts.length}.`,
      );
    });
  };
  return {
    name: 'constitutional revision',
    version: JSON.stringify(constitutionalOptions.settings(given)),
    async *apply(rows, context) {
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        const { signal } = context;
        const asked = batch.map((row, i) => promptOf(row, first + i));
        const missing = batch.flatMap((row, i) => (typeof ownValue(row, 'completion') === 'string' ? [] : [i]));
        const fresh = await ask(
          missing.map((i) => asked[i]!),
          signal,
        );
        const initial = batch.map((row, i) => fresh[missing.indexOf(i)] ?? (ownValue(row, 'completion') as string));
        const found: Revision[][] = batch.map(() => []);
        const last = (i: number) => found[i]!.at(-1)?.revision ?? initial[i]!;
        for (let round = 0; round < rounds; round++) {
          const drawn = batch.map((row) =>
            context.random(`${context.keyOf(row).id}/${round}`).integer(0, principles.length - 1),
          );
          const critiques = await ask(
            batch.map((_, i) => talk(asked[i]!, last(i), principles[drawn[i]!]!.critique)),
            signal,
          );
          const revisions = await ask(
            batch.map((_, i) => {
              const { critique, revision } = principles[drawn[i]!]!;
              return talk(asked[i]!, last(i), critique, critiques[i]!, revision);
            }),
            signal,
          );
          for (const [i, own] of found.entries()) {
            own.push({ principle: drawn[i]!, critique: critiques[i]!, revision: revisions[i]! });
          }
        }
        for (const [i, row] of batch.entries()) {
          const made = { ...row, completion: last(i), initial: initial[i]!, revisions: found[i]! };
          yield context.derive(made, row);
        }
      }
    },
  };
}

function promptOf(row: object, rowNumber: number): Prompt {
  const prompt = ownValue(row, 'prompt');
  if (typeof prompt === 'string' || Array.isArray(prompt)) return prompt as Prompt;
  throw new RowError(rowNumber, 'prompt', `must be a text or messages, got ${kindOf(prompt)}.`);
}

/** The prompt, and then answers and requests in turn. */
function talk(prompt: Prompt, ...turns: readonly string[]): Prompt {
  const start = typeof prompt === 'string' ? [{ role: 'user' as const, content: prompt }] : [...prompt];
  return [
    ...start,
    ...turns.map((content, i) => ({ role: i % 2 ? ('user' as const) : ('assistant' as const), content })),
  ];
}
