import { custom, type Generator, type Given, options } from '@posttrain/interfaces';
import {
  fill,
  generatorOption,
  generatorsOption,
  promptsOption,
  ratingIn,
  synthesisShape,
  synthesisStep,
  textOf,
} from '../steps/asking.js';

/** What a completion is rated by: a name, and what it means. */
export interface Aspect {
  readonly name: string;
  readonly meaning: string;
}

const ASPECTS: readonly Aspect[] = [
  { name: 'instruction-following', meaning: 'Does it do what the instruction says, and nothing else?' },
  { name: 'truthfulness', meaning: 'Is what it says true, and not invented?' },
  { name: 'honesty', meaning: 'Is it as sure as it can be, and does it say where it is not?' },
  { name: 'helpfulness', meaning: 'Is it of use: clear, whole, and to the point?' },
];

const PROMPTS = {
  rate: 'Rate these answers from 1 to 5 by {aspect}: {meaning}\n\nInstruction: {instruction}\n\n{answers}\n\nWrite one line for each answer, in their order, as "Answer 1: " with the rating.',
} as const;

const ultraOptions = options('ultraFeedback', {
  /** Models that answer; two or more make pairs. */
  generators: generatorsOption,
  /** How many of them answer each row, drawn by row. Default: four, or all where there are fewer. */
  perRow: custom<number>()(
    'a whole number of at least 2',
    (value) => Number.isSafeInteger(value) && (value as number) >= 2,
    {
      optional: true,
    },
  ),
  /** The model that rates. */
  judge: generatorOption,
  /** Default the four of the paper. */
  aspects: custom<readonly Aspect[]>()(
    'a list of { name, meaning }, at least one',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((one: Partial<Aspect> | null) => typeof one?.name === 'string' && typeof one.meaning === 'string'),
    { default: ASPECTS },
  ),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `ultraFeedback`. */
export type UltraFeedbackOptions = Given<typeof ultraOptions>;

/** An answer with its ratings by aspect, from 1 to 5. */
export interface RatedAnswer {
  readonly model: string;
  readonly completion: string;
  readonly ratings: Readonly<Record<string, number>>;
  /** Mean over the aspects that apply. */
  readonly score: number;
}

/** An instruction with several rated answers, and the pair of the best and one of the others. */
export type UltraFeedbackRow = {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
  readonly answers: readonly RatedAnswer[];
};

/**
 * The ratings that a judge gives answers, in their order: lines `Answer 1: 4`, or, as the templates of UltraFeedback's authors ask, one block for each between empty lines, with a line `Rating: 4`. `'N/A'` where an
 * aspect does not apply; `null` where a rating cannot be read.
 */
export function ratingsIn(said: string, count: number): (number | 'N/A' | null)[] {
  const lines = Array.from(
    { length: count },
    (_, i) => new RegExp(`answer ${i + 1}\\b[^:\\n]*:([^\\n]*)`, 'i').exec(said)?.[1],
  );
  const blocks = said.trim().split(/\n\s*\n/);
  const given = lines.some((line) => line !== undefined)
    ? lines
    : blocks.length === count
      ? blocks.map((block) => /^Rating:([^\n]*)/m.exec(block)?.[1])
      : [];
  return lines.map((_, i) => (/^\s*N\/A\b/i.test(given[i] ?? '') ? 'N/A' : ratingIn(given[i] ?? '', 1, 5)));
}

/**
 * UltraFeedback (arXiv 2310.01377): several models answer every row's `prompt`, and a judge rates the answers of each aspect together, in an order that is drawn
 * anew for each aspect, so that a judge's liking for a place does not favour a model. `chosen` is the answer with the highest mean, `rejected` one drawn of those that have a lower
 * one (Zephyr's way, 2310.16944). An aspect that the judge calls `N/A` is not in the mean, as in the authors' code. A row is dropped where a rating cannot be read, an answer has none, or all answers have the same mean.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function ultraFeedback(given: UltraFeedbackOptions) {
  const settings = ultraOptions.read(given);
  const { generators, judge, aspects, perRow = Math.min(4, generators.length) } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, UltraFeedbackRow>(
    'ultrafeedback',
    JSON.stringify(ultraOptions.settings(given)),
    settings,
    async (row, ask, context, rowNumber) => {
      const prompt = textOf(row, 'prompt', rowNumber);
      const { id } = context.keyOf(row);
      const models: Generator[] = context.random(`${id} models`).shuffled(generators).slice(0, perRow);
      const completions: string[] = [];
      for (const [i, model] of models.entries()) completions.push(await ask(model, prompt, `answer ${i}`));
      const ratings: Record<string, number>[] = models.map(() => ({}));
      for (const { name, meaning } of aspects) {
        const order = context.random(`${id} ${name}`).shuffled([...models.keys()]);
        const answers = order.map((of, place) => `Answer ${place + 1}: ${completions[of]}`).join('\n\n');
        const values = { aspect: name, meaning, instruction: prompt, answers };
        const said = await ask(judge, fill(prompts.rate, values), `rate ${name}`);
        const found = ratingsIn(said, order.length);
        for (const [place, of] of order.entries()) {
          const rating = found[place]!;
          if (rating === null) return { drop: 'a rating cannot be read' };
          if (rating !== 'N/A') ratings[of]![name] = rating;
        }
      }
      const answers = models.map(({ name }, i) => {
        const own = Object.values(ratings[i]!);
        // Where no aspect has been rated, there is no mean.
        const score = own.reduce((sum, one) => sum + one, 0) / own.length;
        return { model: name, completion: completions[i]!, ratings: ratings[i]!, score };
      });
      if (answers.some(({ score }) => Number.isNaN(score))) return { drop: 'an answer has no rating' };
      const best = answers.reduce((a, b) => (b.score > a.score ? b : a));
      const worse = answers.filter(({ score }) => score < best.score);
      if (worse.length === 0) return { drop: 'all answers are rated alike' };
      const rejected = context.random(`${id} rejected`).pick(worse).completion;
      return [{ row: { prompt, chosen: best.completion, rejected, answers }, part: 0 }];
    },
  );
}
