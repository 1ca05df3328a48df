import { type Given, options, text } from '@posttrain/interfaces';
import { mergesShape, trainBpe } from './train-bpe.js';

// WordPiece knows no suffix.
const { maxTokenLength: _, endOfWordSuffix: __, ...shape } = mergesShape;
const wordPieceOptions = options('trainWordPiece', {
  ...shape,
  /** In front of every token that does not begin a word. Default `##`. */
  continuingSubwordPrefix: text({ default: '##' }),
});
/** Options of `trainWordPiece`. */
export type TrainWordPieceOptions = Given<typeof wordPieceOptions>;

/**
 * A vocabulary for WordPiece (arXiv 1609.08144), as the `tokenizers` library learns one: the tokens of byte-pair encoding with `##` before
 * what goes on in a word; the order of merges is not kept. In the library it is by chance which of two equally frequent pairs comes
 * first; here it never is.
 *
 * @returns tokens in the order of their ids
 * @throws OptionError, TokenizerTrainingError
 */
export function trainWordPiece(
  words: ReadonlyMap<string, number>,
  given: TrainWordPieceOptions = {},
): readonly string[] {
  return trainBpe(words, wordPieceOptions.read(given)).tokens;
}
