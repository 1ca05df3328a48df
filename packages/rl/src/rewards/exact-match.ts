import { assertKnownOptions, type DecisiveSettings, settingsOf } from '@posttrain/interfaces';
import { type AnswerOptions, gradeAnswer, normalizeAnswer, referenceAnswers } from '@posttrain/interfaces/answers';
import { columnOf, namedReward, type RewardFunction } from './reward.js';

export interface ExactMatchOptions extends AnswerOptions {
  /** Column with the reference: a text, a number, or a list of acceptable ones. Default `answer`. */
  readonly column?: string;
  /** The part of the completion that is compared; null scores 0. Default: its final answer, or all of it where none is marked. */
  readonly extract?: (completion: string) => string | null;
}

/**
 * 1 when the completion's final answer is the reference, else 0, as votes and grades have it (`extractFinalAnswer` and
 * `normalizeAnswer`: `1/2` is `0.50`, `Paris` is `paris`). A reference that marks its answer (`… #### 18`) stands for that.
 */
export function exactMatch(options: ExactMatchOptions = {}): RewardFunction {
  assertKnownOptions('exactMatch', options, ['column', 'extract', 'percent']);
  const { column = 'answer', extract } = options;
  const settings = settingsOf({ column, extract, percent: options.percent }) as DecisiveSettings;
  return namedReward('exactMatch', settings, (completion, context) => {
    const accepted = referenceAnswers('exactMatch', columnOf('exactMatch', column, context), options);
    if (!extract) return Number(gradeAnswer(completion, accepted, options).correct);
    const answer = extract(completion);
    return Number(answer !== null && accepted.includes(normalizeAnswer(answer, options)));
  });
}
