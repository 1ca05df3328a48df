import type { Fields } from '../fields.js';
import { edited, type Piece, prepend, replaceCharacters } from '../piece.js';
import { placesOf, splitPiece } from '../splits.js';

export const PREPEND_SCHEMES = ['first', 'never', 'always'] as const;

/** `replacement` and the scheme of a `Metaspace`, which files before version 0.16 give as `add_prefix_space`. */
export function metaspaceFields(fields: Fields): {
  readonly replacement: string;
  readonly scheme: (typeof PREPEND_SCHEMES)[number];
  readonly split: boolean;
} {
  const scheme = fields.oneOf('prepend_scheme', PREPEND_SCHEMES, 'always');
  if (fields.raw('add_prefix_space') !== undefined && !fields.boolean('add_prefix_space') && scheme !== 'never') {
    fields.fail('add_prefix_space', `is false, which contradicts the prepend_scheme "${scheme}".`);
  }
  return { replacement: fields.character('replacement'), scheme, split: fields.boolean('split', true) };
}

/** `Metaspace`: spaces become a mark, one is put in front, and each begins a piece. */
export function metaspacePieces(fields: Fields): (piece: Piece, into: Piece[]) => void {
  const { replacement, scheme, split } = metaspaceFields(fields);
  return (piece, into) => {
    let marked = edited(piece, (text, log) => replaceCharacters(text, log, / /gu, () => replacement));
    // The first piece is the one that begins where the text does.
    const prepends = scheme === 'always' || (scheme === 'first' && piece.start === 0);
    if (prepends && !marked.text.startsWith(replacement)) {
      marked = edited(marked, (text, log) => prepend(text, replacement, log));
    }
    if (split) splitPiece(marked, placesOf(marked.text, replacement), 'MergedWithNext', false, into);
    else into.push(marked);
  };
}
