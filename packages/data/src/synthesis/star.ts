import { boolean, type Given, integer, options } from '@posttrain/interfaces';
import { fill, generatorOption, promptsOption, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { areRight, verifiedShape } from '../steps/verified.js';

const PROMPTS = {
  reason: '{question}',
  hint: '{question}\n(The answer is {answer}. Show the reasoning that leads to it, as if the answer were not known.)',
} as const;

const starOptions = options('star', {
  generator: generatorOption,
  ...verifiedShape,
  /** Rationales drawn of each question, and again with the hint. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Whether a question that is failed is tried again with its answer as a hint. Default true. */
  rationalize: boolean({ default: true }),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `star`. */
export type StarOptions = Given<typeof starOptions>;

/** A question with a rationale that comes to its answer. */
export type StarRow = {
  readonly prompt: string;
  readonly completion: string;
  readonly answer: string;
  /** Whether it was written with the answer as a hint, which is not in the prompt. */
  readonly rationalized: boolean;
};

/**
 * STaR (arXiv 2203.14465): a rationale for every row's `prompt`, kept where it comes to the row's `answer`; for a question that is failed one with the answer as a hint (rationalisation),
 * kept where it comes to the answer, with the hint taken out of the prompt. One round: `selfTraining` has the outer loop, which trains from the first model each time.
 *
 * @throws OptionError; RowError for a row without prompt and answer; PosttrainError `BAD_RESPONSE`
 */
export function star(given: StarOptions) {
  const settings = starOptions.read(given);
  const { generator, verifier, threshold, samples, rationalize } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, StarRow>(
    'star',
    JSON.stringify(starOptions.settings(given)),
    settings,
    async (row, ask, { signal }, rowNumber) => {
      const question = textOf(row, 'prompt', rowNumber);
      const answer = textOf(row, 'answer', rowNumber);
      for (const rationalized of rationalize ? [false, true] : [false]) {
        const prompt = fill(rationalized ? prompts.hint : prompts.reason, { question, answer });
        const drawn = [...new Set(await ask.many(generator, prompt, rationalized ? 'hint' : 'reason', samples))];
        const right = await areRight(verifier, row, question, drawn, signal, threshold);
        const kept = drawn.filter((_, i) => right[i]);
        if (kept.length === 0) continue;
        return kept.map((completion, i) => ({ row: { prompt: question, completion, answer, rationalized }, part: i }));
      }
      return { drop: 'no rationale comes to the answer' };
    },
  );
}
