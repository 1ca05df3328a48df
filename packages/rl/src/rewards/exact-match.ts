import { assertKnownOptions } from '@posttrain/interfaces';
import { finalAnswer } from './final-answer.js';
import { columnOf, type RewardFunction } from './reward.js';

export interface ExactMatchOptions {
  /** Column with the reference: a text, a number, or a list of acceptable ones. Default `answer`. */
  readonly column?: string;
  /** The part of the completion that is compared; null scores 0. Default: `finalAnswer`, else the whole text. */
  readonly extract?: (completion: string) => string | null;
}

/** 1 when the extracted answer equals the reference, white space around both left out; else 0. */
export function exactMatch(options: ExactMatchOptions = {}): RewardFunction {
  assertKnownOptions('exactMatch', options, ['column', 'extract']);
  const { column = 'answer', extract = (text) => finalAnswer(text) ?? text } = options;
  return (completion, context) => {
    const reference = columnOf('exactMatch', column, context);
    const accepted = (Array.isArray(reference) ? reference : [reference]).map((value) => String(value).trim());
    const answer = extract(completion)?.trim();
    return answer !== undefined && accepted.includes(answer) ? 1 : 0;
  };
}
