import { type Given, number, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { featureRequestOf } from '../selection/feature-requests.js';
import type { DataStep } from '../step.js';
import { asking, fill, generatorOption, promptsOption, ratingIn, synthesisShape } from './asking.js';

const PROMPTS = {
  rate: 'Rate the {dimension} of this answer to its instruction from 0 to 5, a higher number for a better one. Write the number on the first line, then the reason.\n\nInstruction: {instruction}\nAnswer: {answer}',
} as const;

const alpaGasusOptions = options('alpaGasus', {
  /** The model that rates. */
  judge: generatorOption,
  /** Rows rated at least this stay. Default 4.5. */
  threshold: number({ default: 4.5, min: 0, max: 5 }),
  /** What is rated. Default `'accuracy'`. */
  dimension: text({ default: 'accuracy' }),
  prompts: promptsOption(PROMPTS),
  sampling: synthesisShape.sampling,
  ledger: synthesisShape.ledger,
});
/** Options of `alpaGasus`. */
export type AlpaGasusOptions = Given<typeof alpaGasusOptions>;

/**
 * AlpaGasus (arXiv 2307.08701): a strong model rates every row's answer from 0 to 5, and rows below the threshold go. The rating is the first number of the first line, or else what stands behind the first `score:`; a row whose rating cannot be
 * read goes, with its reason.
 *
 * @throws OptionError; RowError for a row without prompt and completion; PosttrainError `BAD_RESPONSE`
 */
export function alpaGasus<R extends object = Row>(given: AlpaGasusOptions): DataStep<R> & { readonly passes: true } {
  const settings = alpaGasusOptions.read(given);
  const { judge, threshold, dimension } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return {
    name: 'alpagasus',
    version: JSON.stringify(alpaGasusOptions.settings(given)),
    passes: true,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        const { prompt, completion } = featureRequestOf(row, ++rowNumber);
        const instruction = typeof prompt === 'string' ? prompt : JSON.stringify(prompt);
        const seedOf = (label: string) => context.random(label).integer(0, 2 ** 31 - 1);
        const ask = asking(context.keyOf(row).id, seedOf, { ...settings, signal: context.signal });
        const said = await ask(judge, fill(prompts.rate, { dimension, instruction, answer: completion }), 'rate');
        const found = /-?\d+(?:\.\d+)?/.exec(said.trim().split('\n')[0]!)?.[0] ?? /score:\s*([\d.]+)/i.exec(said)?.[1];
        const rating = ratingIn(found ?? '', 0, 5);
        if (rating !== null && rating >= threshold) yield row;
        else context.drop(row, rating === null ? 'the rating cannot be read' : 'is not rated high enough');
      }
    },
  };
}
