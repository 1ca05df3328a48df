import { custom, type Given, integer, options } from '@posttrain/interfaces';
import type { Random } from '@posttrain/interfaces/random';
import { type Synthesised, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { scoresOf, verifierOption } from '../steps/verified.js';

/** A change of a prompt that must not change what is right: a new text, or the same where it does not apply. */
export type Perturbation = (prompt: string, random: Random) => string;

const wordAt = (prompt: string, random: Random): { words: string[]; at: number } => {
  const words = prompt.split(' ');
  const long = [...words.keys()].filter((i) => /^\p{L}{4,}$/u.test(words[i]!));
  return { words, at: long.length === 0 ? -1 : random.pick(long) };
};

/** Perturbations that keep numbers and names as they are. */
export const perturbations = {
  /** Two letters inside of one word change places. */
  typo: (prompt, random) => {
    const { words, at } = wordAt(prompt, random);
    if (at < 0) return prompt;
    const word = words[at]!;
    const i = random.integer(1, word.length - 3);
    words[at] = word.slice(0, i) + word[i + 1] + word[i] + word.slice(i + 2);
    return words.join(' ');
  },
  /** One letter of one word is left out. */
  deletion: (prompt, random) => {
    const { words, at } = wordAt(prompt, random);
    if (at < 0) return prompt;
    const i = random.integer(1, words[at]!.length - 2);
    words[at] = words[at]!.slice(0, i) + words[at]!.slice(i + 1);
    return words.join(' ');
  },
  /** A sentence before it that has nothing to do with it. */
  distractor: (prompt, random) =>
    `${random.pick(['The weather was mild that day.', 'Somebody had left the window open.', 'A train passed in the distance.'])} ${prompt}`,
  /** All in lower case. */
  lowerCase: (prompt) => prompt.toLowerCase(),
} as const satisfies Record<string, Perturbation>;

const adversarialOptions = options('adversarialAugment', {
  /** By name. Default `perturbations`. */
  perturbations: custom<Readonly<Record<string, Perturbation>>>()(
    'an object of functions of a prompt, at least one',
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.keys(value).length > 0 &&
      Object.values(value).every((one) => typeof one === 'function'),
    {
      default: perturbations,
      settings: (all) => JSON.stringify(Object.entries(all).map(([name, one]) => [name, String(one)])),
    },
  ),
  /**
   * Whether a perturbed prompt still means what it did, asked with the row: `prompt` is the old one, `completion` the new one. A score below 0.5, or none, takes it away.
   * Default: numbers are the same in both.
   */
  preserves: verifierOption,
  /** Variants of each row at the most. Default: one of each perturbation. */
  most: integer({ optional: true, min: 1 }),
  concurrency: synthesisShape.concurrency,
});
/** Options of `adversarialAugment`. */
export type AdversarialAugmentOptions = Given<typeof adversarialOptions>;

/** A row whose prompt was changed, and nothing else. */
export type AdversarialRow<R> = Synthesised<R & { readonly perturbation: string; readonly original: string }>;

const numbersIn = (text: string): string => (text.match(/\d+(?:[.,]\d+)*/g) ?? []).join(' ');

/**
 * Adversarial augmentation (survey arXiv 2502.21321 §7; TextAttack-like perturbations): every row with its prompt perturbed, one row for each perturbation that changes it and
 * keeps what is right. All other columns, the answer too, stay. A model or a person may be `preserves`.
 *
 * @throws OptionError; RowError for a row without prompt
 */
export function adversarialAugment<R extends { readonly prompt: string }>(given: AdversarialAugmentOptions = {}) {
  const settings = adversarialOptions.read(given);
  const { preserves, most } = settings;
  return synthesisStep<R, R & { readonly perturbation: string; readonly original: string }>(
    'adversarial augment',
    JSON.stringify(adversarialOptions.settings(given)),
    settings,
    async (row, _, context, rowNumber) => {
      const original = textOf(row, 'prompt', rowNumber);
      const { id } = context.keyOf(row);
      const made: { row: R & { perturbation: string; original: string }; part: string }[] = [];
      for (const [name, change] of Object.entries(settings.perturbations)) {
        if (made.length === most) break;
        const prompt = change(original, context.random(`${id} ${name}`));
        if (prompt === original) continue;
        const [score] = preserves
          ? await scoresOf(preserves, row, original, [prompt], context.signal)
          : [Number(numbersIn(original) === numbersIn(prompt))];
        if (score === null || score! < 0.5) context.warn(`${name} does not keep what is right`);
        else made.push({ row: { ...row, prompt, perturbation: name, original }, part: name });
      }
      return made.length === 0 ? { drop: 'no perturbation applies' } : made;
    },
  );
}
