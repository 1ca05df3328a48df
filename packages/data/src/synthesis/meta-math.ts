import { type Given, integer, options } from '@posttrain/interfaces';
import {
  atLeastOne,
  fill,
  generatorOption,
  promptsOption,
  synthesisShape,
  synthesisStep,
  textOf,
} from '../steps/asking.js';
import { areRight, verifiedShape } from '../steps/verified.js';

const KINDS = ['answer', 'rephrase', 'selfVerification', 'fobar'] as const;
/** A way in which MetaMath makes more of a question. */
export type MetaMathKind = (typeof KINDS)[number];

const PROMPTS = {
  rephrase:
    'Ask this question in other words, with the same numbers and the same answer. Write the question only.\n\n{question}',
  declare:
    'Make one statement of this question and its answer. Write the statement only.\n\nQuestion: {question}\nAnswer: {answer}',
  solve: '{question}',
} as const;

const metaMathOptions = options('metaMath', {
  generator: generatorOption,
  /** Who says whether a solution is right: of the row with `answer`, which for backward questions is the number that was masked. */
  ...verifiedShape,
  /** Default all four. */
  kinds: atLeastOne(KINDS),
  /** Solutions drawn of each question; those that are right stay, equal ones once. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Numbers of a question that are masked in turn, the first of it. Default all. */
  mostMasks: integer({ optional: true, min: 1 }),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `metaMath`. */
export type MetaMathOptions = Given<typeof metaMathOptions>;

/** A question of MetaMath with a solution that is right. */
export type MetaMathRow = {
  readonly prompt: string;
  readonly completion: string;
  /** What is right: of a backward question the number that stood in the place of x. */
  readonly answer: string;
  readonly kind: MetaMathKind;
  /** The question that it was made of. */
  readonly original: string;
};

/**
 * A question with each of its numbers, in turn, exchanged for x. Numbers with a thousands comma or decimals are one, and so is a fraction (2/3). Words of a question are what the authors' code takes too (`three`);
 * here they stay, and marks before and behind a number stay where their code drops those before it.
 */
export function maskedNumbers(question: string): { readonly masked: string; readonly value: string }[] {
  return [...question.matchAll(/(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:\/\d+)?(?![\w])/g)].map(({ 0: found, index }) => ({
    masked: `${question.slice(0, index)}x${question.slice(index + found.length)}`,
    value: found.replaceAll(',', ''),
  }));
}

/**
 * MetaMath (arXiv 2309.12284): of every row with `prompt` and `answer` more questions: the same with other solutions (answer augmentation), rephrased, and backward, where a number
 * is x and the answer known, as a statement (Self-Verification, 2212.09561) or with a condition behind the question (FOBAR, 2308.07758). Every solution is
 * verified: forward ones against the answer, backward ones against the number that was masked. Rows come out once for each that is right.
 *
 * @throws OptionError; RowError for a row without prompt and answer; PosttrainError `BAD_RESPONSE`
 */
export function metaMath(given: MetaMathOptions) {
  const settings = metaMathOptions.read(given);
  const { generator, verifier, threshold, kinds, samples, mostMasks } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, MetaMathRow>(
    'metamath',
    JSON.stringify(metaMathOptions.settings(given)),
    settings,
    async (row, ask, { signal, warn }, rowNumber) => {
      const original = textOf(row, 'prompt', rowNumber);
      const answer = textOf(row, 'answer', rowNumber);
      const questions: { kind: MetaMathKind; prompt: string; answer: string }[] = [];
      if (kinds.includes('answer')) questions.push({ kind: 'answer', prompt: original, answer });
      if (kinds.includes('rephrase')) {
        const prompt = (await ask(generator, fill(prompts.rephrase, { question: original }), 'rephrase')).trim();
        questions.push({ kind: 'rephrase', prompt, answer });
      }
      const masks = maskedNumbers(original).slice(0, mostMasks);
      if (kinds.includes('selfVerification') && masks.length > 0) {
        const told = (await ask(generator, fill(prompts.declare, { question: original, answer }), 'declare')).trim();
        // The answer is in the statement too: a number that is equal to it stays.
        const usable = maskedNumbers(told).filter(({ value }) => Number(value) !== Number(answer.replaceAll(',', '')));
        for (const { masked, value } of usable.slice(0, mostMasks)) {
          questions.push({
            kind: 'selfVerification',
            prompt: `${masked} What is the value of unknown variable x?`,
            answer: value,
          });
        }
      }
      if (kinds.includes('fobar')) {
        const known = `If we know the answer to the above question is ${answer}, what is the value of unknown variable x?`;
        for (const { masked, value } of masks)
          questions.push({ kind: 'fobar', prompt: `${masked} ${known}`, answer: value });
      }
      const made: { row: MetaMathRow; part: string }[] = [];
      for (const [q, question] of questions.entries()) {
        const drawn = await ask.many(
          generator,
          fill(prompts.solve, { question: question.prompt }),
          `solve ${q}`,
          samples,
        );
        const solutions = [...new Set(drawn)];
        const right = await areRight(verifier, { ...row, ...question }, question.prompt, solutions, signal, threshold);
        const kept = solutions.filter((_, i) => right[i]);
        if (kept.length === 0) warn(`${question.kind}: no solution is right`);
        kept.forEach((completion, i) => {
          made.push({ row: { ...question, completion, original }, part: `${q}.${i}` });
        });
      }
      return made.length === 0 ? { drop: 'no solution is right' } : made;
    },
  );
}
