import { type Given, integer, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { highest, type SelectionStep, selectionStep } from '../selection/selection-step.js';
import { asking, fill, generatorOption, promptsOption, ratingIn, synthesisShape, textOf } from '../steps/asking.js';

const PROMPTS = {
  rate: 'A model is trained on examples that people label. How much would it learn from a label of this one, from 1 (nothing new) to 10 (a great deal)? {goal}\n\nExample: {text}\n\nWrite the number only.',
} as const;

const llmRankOptions = options('llmRankSelect', {
  /** The model that ranks. */
  generator: generatorOption,
  /** How many rows are chosen to be labelled. */
  count: integer({ min: 1 }),
  /** What the model that is trained shall be able to do. Default nothing. */
  goal: text({ default: '' }),
  /** Column of the text. Default `'prompt'`. */
  column: text({ default: 'prompt' }),
  prompts: promptsOption(PROMPTS),
  sampling: synthesisShape.sampling,
  ledger: synthesisShape.ledger,
});
/** Options of `llmRankSelect`. */
export type LlmRankSelectOptions = Given<typeof llmRankOptions>;

/**
 * Selection by a language model (arXiv 2502.11767 §4.2; ActiveLLM, 2405.10808): it rates how much a label of each row would teach, and the highest stay. A row whose rating cannot be read is not chosen.
 *
 * @throws OptionError; RowError for a row without the column; PosttrainError `BAD_RESPONSE`
 */
export function llmRankSelect<R extends object = Row>(given: LlmRankSelectOptions): SelectionStep<R> {
  const settings = llmRankOptions.read(given);
  const prompts = { ...PROMPTS, ...settings.prompts };
  return selectionStep(
    'llm rank select',
    JSON.stringify(llmRankOptions.settings(given)),
    'others teach more',
    async (rows, context) => {
      const scores: { id: string; score: number | null }[] = [];
      let rowNumber = 0;
      for await (const row of rows) {
        const { id } = context.keyOf(row);
        const values = { goal: settings.goal, text: textOf(row, settings.column, ++rowNumber) };
        const seedOf = (label: string) => context.random(label).integer(0, 2 ** 31 - 1);
        const ask = asking(id, seedOf, { ...settings, signal: context.signal });
        scores.push({ id, score: ratingIn(await ask(settings.generator, fill(prompts.rate, values), 'rank'), 1, 10) });
      }
      return highest(scores, { count: settings.count, share: 1 });
    },
  );
}
