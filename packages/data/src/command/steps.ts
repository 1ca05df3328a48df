import { nearestName } from '@posttrain/interfaces';
import { badWords } from '../filters/bad-words.js';
import { c4Paragraphs } from '../filters/c4-paragraphs.js';
import { c4Quality } from '../filters/c4-quality.js';
import { finewebQuality } from '../filters/fineweb-quality.js';
import { gopherQuality } from '../filters/gopher-quality.js';
import { gopherRepetition } from '../filters/gopher-repetition.js';
import { languageFilter } from '../filters/language-filter.js';
import { readabilityFilter } from '../filters/readability-filter.js';
import { repairText } from '../filters/repair-text.js';
import { scrubPii } from '../filters/scrub-pii.js';
import { urlFilter } from '../filters/url-filter.js';
import { ratedPairs } from '../formats/ratings.js';
import { toTrl } from '../formats/row-layout.js';
import { validate } from '../formats/validate-row.js';
import { isPlainObject } from '../rows.js';
import type { AnyStep } from '../step.js';
import { bloomDeduplicate } from '../steps/bloom-deduplicate.js';
import { decontaminate } from '../steps/decontaminate.js';
import { exactDeduplicate } from '../steps/exact-deduplicate.js';
import { exactSubstringDeduplicate } from '../steps/exact-substring-deduplicate.js';
import { map } from '../steps/map.js';
import { minhashDeduplicate } from '../steps/minhash-deduplicate.js';
import { sentenceDeduplicate } from '../steps/sentence-deduplicate.js';
import { shuffle } from '../steps/shuffle.js';
import { split } from '../steps/split.js';
import { take } from '../steps/take.js';

/** Steps whose options can be written in a file; each checks its own. */
const STEPS = {
  badWords,
  bloomDeduplicate,
  c4Paragraphs,
  c4Quality,
  decontaminate,
  exactDeduplicate,
  exactSubstringDeduplicate,
  finewebQuality,
  gopherQuality,
  gopherRepetition,
  languageFilter,
  minhashDeduplicate,
  ratedPairs,
  readabilityFilter,
  repairText,
  scrubPii,
  sentenceDeduplicate,
  shuffle,
  split,
  take,
  toTrl: (options: object) => map('toTrl', toTrl, options),
  urlFilter,
  validate: ({ format, ...options }: { readonly format: string }) => validate(format as never, options),
} as unknown as Readonly<Record<string, (options: unknown) => AnyStep>>;

/** Names of the steps of a file. */
export const STEP_NAMES: readonly string[] = Object.keys(STEPS);

/** One step of a file: a name, or an object of one name and its options. @throws Error that says what is wrong with it */
export function stepOf(written: unknown): AnyStep {
  const entries: readonly (readonly [string, unknown])[] =
    typeof written === 'string' ? [[written, {}]] : isPlainObject(written) ? Object.entries(written) : [];
  const [entry] = entries;
  if (entry === undefined || entries.length > 1) {
    throw new Error('a step is a name, or one name with its options below it: "- gopherQuality: { minDocWords: 20 }".');
  }
  const [name, options] = entry;
  if (!Object.hasOwn(STEPS, name)) {
    const near = nearestName(name, STEP_NAMES);
    throw new Error(
      `there is no step "${name}".${near === undefined ? '' : ` Did you mean "${near}"?`} Steps: ${STEP_NAMES.join(', ')}.`,
    );
  }
  return STEPS[name]!(options ?? {});
}
