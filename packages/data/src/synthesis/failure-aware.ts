import { type Given, integer, number, options } from '@posttrain/interfaces';
import { fill, generatorOption, promptsOption, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { areRight, verifiedShape } from '../steps/verified.js';

const PROMPTS = {
  similar:
    'A student failed this problem. Write a new problem that needs the same skill, with other numbers or names.\n\nProblem: {prompt}\nWrong answer: {wrong}\n\nAnswer in two lines as\nProblem: …\nAnswer: …',
} as const;

const failureOptions = options('failureAwareAugment', {
  /** The model whose failures are looked for. */
  generator: generatorOption,
  /** The model that writes more problems like those. */
  author: generatorOption,
  ...verifiedShape,
  /** Attempts of each row. Default 4. */
  attempts: integer({ default: 4, min: 1 }),
  /** A row counts as a failure where at most this share of attempts is right. Default 0.5. */
  failing: number({ default: 0.5, min: 0, below: 1 }),
  /** New problems of each failure. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Who solves a new problem again, to see whether its answer is right. */
  solver: generatorOption,
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `failureAwareAugment`. */
export type FailureAwareOptions = Given<typeof failureOptions>;

/** A problem like one that the model fails. */
export type FailureAwareRow = {
  readonly prompt: string;
  readonly answer: string;
  /** The solution of the solver, which comes to the same answer. */
  readonly completion: string;
  readonly original: string;
  /** Share of the attempts at the original that were right. */
  readonly passRate: number;
};

/**
 * Failure-aware augmentation (survey arXiv 2502.21321 §7; LLM2LLM, 2403.15042): rows that the model solves too seldom are given to an author, who writes more like them. A new problem is kept
 * where a solver comes to the author's answer, so that its label is right. Rows that the model can solve are dropped, and counted.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function failureAwareAugment(given: FailureAwareOptions) {
  const settings = failureOptions.read(given);
  const { generator, author, solver, verifier, threshold, attempts, failing, samples } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, FailureAwareRow>(
    'failure-aware augment',
    JSON.stringify(failureOptions.settings(given)),
    settings,
    async (row, ask, { signal, warn }, rowNumber) => {
      const original = textOf(row, 'prompt', rowNumber);
      const tried = await ask.many(generator, original, 'attempts', attempts);
      const right = await areRight(verifier, row, original, tried, signal, threshold);
      const passRate = right.filter((one) => one).length / attempts;
      if (passRate > failing) return { drop: 'the model solves it' };
      const wrong = tried[right.indexOf(false)]!;
      const written = await ask.many(author, fill(prompts.similar, { prompt: original, wrong }), 'similar', samples);
      const made: { row: FailureAwareRow; part: number }[] = [];
      for (const [i, text] of written.entries()) {
        const [, prompt = '', answer = ''] = /^Problem:\s*([\s\S]*?)\nAnswer:\s*([\s\S]*)$/i.exec(text.trim()) ?? [];
        if (prompt.trim() === '' || answer.trim() === '') {
          warn('a new problem cannot be read');
          continue;
        }
        const problem = { ...row, prompt: prompt.trim(), answer: answer.trim() };
        const completion = await ask(solver, problem.prompt, `solve ${i}`);
        const [agrees] = await areRight(verifier, problem, problem.prompt, [completion], signal, threshold);
        if (!agrees) warn('the answer of a new problem is not confirmed');
        else
          made.push({
            row: { prompt: problem.prompt, answer: problem.answer, completion, original, passRate },
            part: i,
          });
      }
      return made.length === 0 ? { drop: 'no new problem is confirmed' } : made;
    },
  );
}
