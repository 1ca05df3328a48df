import { build, Fields, shown, TokenizerComponentError } from '../fields.js';
import { bpe } from './bpe.js';
import { unigram } from './unigram.js';
import { wordLevel } from './word-level.js';
import { wordPiece } from './word-piece.js';

/** Start and end of each token in a piece. */
export class Places {
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  /** Whether the reference implementation, which counts the bytes of the tokens that it has, places some elsewhere. */
  differ = false;

  push(start: number, end: number): void {
    this.starts.push(start);
    this.ends.push(end);
  }
}

/** Tokens of a piece of text. */
export interface Model {
  /**
   * Adds the ids of `text`, which is not empty, to `ids` and, where `places` is given, start and end of each in `text`.
   *
   * @throws TokenizerTextError when the text has something that the model has no token for
   */
  tokenize(text: string, ids: number[], places?: Places): void;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  /** Number of tokens; ids may go beyond it. */
  readonly size: number;
  readonly largestId: number;
  /** The id whose tokens are written as the text that they stand for. */
  readonly textId?: number | undefined;
}

const KINDS: Readonly<Record<string, (fields: Fields) => Model>> = {
  BPE: bpe,
  Unigram: unigram,
  WordPiece: wordPiece,
  WordLevel: wordLevel,
};

/** The model of tokenizer.json. Old files do not name its type. @throws TokenizerComponentError */
export function buildModel(value: unknown): Model {
  const fields = new Fields(value, 'model');
  const type = fields.raw('type');
  if (type !== undefined && !(typeof type === 'string' && Object.hasOwn(KINDS, type))) {
    throw new TokenizerComponentError(
      'its model',
      `is of type ${shown(type)}; supported are ${Object.keys(KINDS).join(', ')}.`,
    );
  }
  if (type !== undefined) return build(value, 'model', KINDS);
  if (fields.raw('merges') !== undefined) return bpe(fields);
  if (Array.isArray(fields.raw('vocab'))) return unigram(fields);
  return fields.raw('continuing_subword_prefix') === undefined ? wordLevel(fields) : wordPiece(fields);
}
