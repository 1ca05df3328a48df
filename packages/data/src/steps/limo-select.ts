import { type Given, integer, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { highest, keepShape, type SelectionStep, selectionStep } from '../selection/selection-step.js';
import { textOf } from './asking.js';

const limoOptions = options('limoSelect', {
  ...keepShape,
  /** Column of the reasoning. Default `'completion'`. */
  column: text({ default: 'completion' }),
  /** Words from which on a chain counts as elaborate in full. Default: those of the longest row. */
  fullLength: integer({ optional: true, min: 1 }),
});
/** Options of `limoSelect`. */
export type LimoSelectOptions = Given<typeof limoOptions>;

const MARKS = {
  verification: /\b(?:check|checks|checking|verify|verifies|verified|confirm|double-check)\b/gi,
  exploration: /\b(?:perhaps|might|maybe|possibly|alternatively)\b/gi,
  connection: /\b(?:therefore|since|thus|hence|because)\b/gi,
} as const;

/** What a chain of reasoning is like, by LIMO's four rules: words, and marks per word. */
export function reasoningTraits(
  chain: string,
): { readonly words: number } & Readonly<Record<keyof typeof MARKS, number>> {
  const words = chain.split(/\s+/).filter((word) => word !== '').length;
  const per = (mark: RegExp) => (words === 0 ? 0 : (chain.match(mark)?.length ?? 0) / words);
  return {
    words,
    verification: per(MARKS.verification),
    exploration: per(MARKS.exploration),
    connection: per(MARKS.connection),
  };
}

/**
 * The quality stage of LIMO (arXiv 2502.03387 §3.2), behind its filters of difficulty (`passRateFilter`): chains are ranked by how elaborate they are (30 %: length), how much they verify (20 %), explore (25 %)
 * and connect (25 %: marks such as "check", "perhaps", "therefore", per word), each over the highest of all rows, and the highest stay. The paper names the rules and their weights; lists of marks and the
 * scaling are ours, as its code is not public.
 *
 * @throws OptionError; RowError for a row without the column
 */
export function limoSelect<R extends object = Row>(given: LimoSelectOptions = {}): SelectionStep<R> {
  const settings = limoOptions.read(given);
  return selectionStep(
    'limo select',
    JSON.stringify(limoOptions.settings(given)),
    'others reason better',
    async (rows, context) => {
      const all: { id: string; traits: ReturnType<typeof reasoningTraits> }[] = [];
      let rowNumber = 0;
      for await (const row of rows) {
        all.push({ id: context.keyOf(row).id, traits: reasoningTraits(textOf(row, settings.column, ++rowNumber)) });
      }
      const most = (trait: keyof ReturnType<typeof reasoningTraits>) =>
        all.reduce((high, { traits }) => Math.max(high, traits[trait]), 0) || 1;
      const [words, verification, exploration, connection] = [
        settings.fullLength ?? most('words'),
        most('verification'),
        most('exploration'),
        most('connection'),
      ];
      const scores = all.map(({ id, traits }) => ({
        id,
        score:
          0.3 * Math.min(1, traits.words / words) +
          0.2 * (traits.verification / verification) +
          0.25 * (traits.exploration / exploration) +
          0.25 * (traits.connection / connection),
      }));
      return highest(scores, settings);
    },
  );
}
