import { DigitsPreTokenizer, type PreTokenizer, SequencePreTokenizer } from '@huggingface/tokenizers';

/**
 * Makes `Digits` split at every character that is a number to Unicode (½, ①, ٣), as the reference implementation does;
 * the library splits at 0 to 9 only. SmolLM2's tokenizer has this step.
 */
export function correctDigits(preTokenizer: PreTokenizer | null): void {
  if (preTokenizer instanceof SequencePreTokenizer) preTokenizer.tokenizers.forEach(correctDigits);
  if (preTokenizer instanceof DigitsPreTokenizer) {
    preTokenizer.pattern = preTokenizer.config.individual_digits ? /\P{N}+|\p{N}/gu : /\P{N}+|\p{N}+/gu;
  }
}
