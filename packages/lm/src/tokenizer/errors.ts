import { PosttrainError } from '@posttrain/interfaces';

/** A text that the tokenizer has no tokens for, or tokens that its decoder cannot turn into text. */
export class TokenizerTextError extends PosttrainError {
  constructor(problem: string) {
    super('TOKENIZER_TEXT', problem);
  }
}

/** A text, or options, that no tokenizer can be learnt from. */
export class TokenizerTrainingError extends PosttrainError {
  constructor(problem: string) {
    super('TOKENIZER_TRAINING', `A tokenizer cannot be trained: ${problem}`);
  }
}

export function unknownText(text: string, remedy: string): TokenizerTextError {
  return new TokenizerTextError(`The tokenizer has no token for ${quoted(text)}, and ${remedy}.`);
}

/** Offsets of the reference implementation would be of other characters. */
export function misplacedText(text: string): TokenizerTextError {
  return new TokenizerTextError(
    `The tokenizer has no token for some character of ${quoted(text)} and leaves it out or spells it with bytes of its own, after which the tokenizers library's offsets are those of other characters; whole: true gives where the tokens are.`,
  );
}

const quoted = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);

/** Text is a string; anything else would be tokenized as the name of its type. */
export function assertText(text: unknown, where: string): asserts text is string {
  if (typeof text === 'string') return;
  const found = text === null ? 'null' : Array.isArray(text) ? 'a list' : typeof text;
  throw new TokenizerTextError(`${where} is ${found}; it must be a text.`);
}

const MAX_LENGTH = 2 ** 25;

/** Refuses a step that makes a text, longer and longer from step to step, too long to hold. */
export function assertLength(length: number, step: string): void {
  if (length > MAX_LENGTH)
    throw new TokenizerTextError(`The tokenizer's ${step} makes a text of ${length} characters.`);
}
