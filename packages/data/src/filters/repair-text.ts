import { type Given, options } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { repairUnicode } from '../text/repair-unicode.js';
import { columnOption, textEditor } from './text-filter.js';

const repairTextOptions = options('repairText', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
});
/** Options of `repairText`. */
export type RepairTextOptions = Given<typeof repairTextOptions>;

/** A step that writes each text as `repairUnicode` has it; what is changed is a new row, made of the old one. */
export function repairText<R extends object = Row>(given: RepairTextOptions = {}): DataStep<R> {
  const { text } = repairTextOptions.read(given);
  return textEditor<R>('repair text', JSON.stringify(repairTextOptions.settings(given)), text, (before) => ({
    text: repairUnicode(before),
  }));
}
