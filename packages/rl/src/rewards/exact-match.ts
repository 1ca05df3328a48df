import { custom, type DecisiveSettings, type Given, options, settingsOf } from '@posttrain/interfaces';
import { gradeAnswer, normalizeAnswer, referenceAnswers } from '@posttrain/interfaces/answers';
import { referenceShape } from './reference-shape.js';
import { columnOf, namedReward, type RewardFunction } from './reward.js';

const exactMatchOptions = options(
  'exactMatch',
  {
    ...referenceShape,
    /** The part of the completion that is compared; null scores 0. Default: its final answer, or all of it where none is marked. */
    extract: custom<(completion: string) => string | null>()(
      'a function of the completion that gives a text or null',
      (value) => typeof value === 'function',
      { optional: true },
    ),
  },
  { bare: 'column' },
);
export type ExactMatchOptions = Given<typeof exactMatchOptions>;

/**
 * 1 when the completion's final answer is the reference, else 0, as votes and grades have it (`extractFinalAnswer` and
 * `normalizeAnswer`: `1/2` is `0.50`, `Paris` is `paris`). A reference that marks its answer (`… #### 18`) stands for that.
 */
export function exactMatch(given: ExactMatchOptions = {}): RewardFunction {
  const { column, extract, ...answers } = exactMatchOptions.read(given);
  const settings = settingsOf({ column, extract, percent: given.percent }) as DecisiveSettings;
  return namedReward('exactMatch', settings, (completion, context) => {
    const accepted = referenceAnswers('exactMatch', columnOf('exactMatch', column, context), answers);
    if (!extract) return Number(gradeAnswer(completion, accepted, answers).correct);
    const answer = extract(completion);
    return Number(answer !== null && accepted.includes(normalizeAnswer(answer, answers)));
  });
}
