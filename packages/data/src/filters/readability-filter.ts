import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { readability } from '../text/readability.js';
import { columnOption, textFilter } from './text-filter.js';

const readabilityFilterOptions = options('readabilityFilter', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** Which score. Default `fleschReadingEase`. */
  score: oneOf(
    ['fleschReadingEase', 'fleschKincaidGrade', 'gunningFog', 'smog', 'colemanLiau', 'automatedReadability', 'lix'],
    { default: 'fleschReadingEase' },
  ),
  /** Least score of what is kept. Default: any. */
  min: number({ optional: true }),
  /** Greatest. Default: any. */
  max: number({ optional: true }),
});
/** Options of `readabilityFilter`. */
export type ReadabilityFilterOptions = Given<typeof readabilityFilterOptions>;

/** Keeps English texts whose readability (see `readability`) lies between two scores; one without words is dropped. @throws OptionError; RowError where the text is none */
export function readabilityFilter<R extends object = Row>(
  given: ReadabilityFilterOptions,
): DataStep<R> & { readonly passes: true } {
  const { text, score, min = -Infinity, max = Infinity } = readabilityFilterOptions.read(given);
  return textFilter('readability', JSON.stringify(readabilityFilterOptions.settings(given)), text, (content) => {
    const found = readability(content)[score];
    if (Number.isNaN(found)) return { drop: 'no words' };
    if (found < min) return { drop: `${score} too small` };
    return found > max ? { drop: `${score} too great` } : true;
  });
}
