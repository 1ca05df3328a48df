import { unknownText } from '../errors.js';
import type { Fields } from '../fields.js';
import type { Model } from './model.js';
import { Vocabulary } from './vocabulary.js';

/** `WordPiece`: greedy longest match from the left; a piece without a match is unknown as a whole. */
export function wordPiece(fields: Fields): Model {
  const vocabulary = Vocabulary.read(fields);
  const unknown = fields.string('unk_token');
  const prefix = fields.string('continuing_subword_prefix');
  const mostCharacters = fields.integer('max_input_chars_per_word', 0);
  let longest = 0;
  for (const token of vocabulary.ids.keys()) longest = Math.max(longest, token.length);

  const find = (text: string, start: number): readonly [id: number, end: number] | undefined => {
    const before = start === 0 ? '' : prefix;
    for (let end = Math.min(text.length, start + longest - before.length); end > start; end--) {
      // Not between the two halves of a character.
      if (end < text.length && text.codePointAt(end - 1)! > 0xffff) continue;
      const id = vocabulary.ids.get(before + text.slice(start, end));
      if (id !== undefined) return [id, end];
    }
    return undefined;
  };

  return {
    ...vocabulary.lookups,
    tokenize(text, ids, places) {
      const found: number[] = [];
      const ends: number[] = [0];
      const tooLong = text.length > mostCharacters && Array.from(text).length > mostCharacters;
      while (!tooLong && ends.at(-1)! < text.length) {
        const next = find(text, ends.at(-1)!);
        if (!next) break;
        found.push(next[0]);
        ends.push(next[1]);
      }
      if (ends.at(-1) === text.length) {
        found.forEach((id, i) => {
          ids.push(id);
          places?.push(ends[i]!, ends[i + 1]!);
        });
        return;
      }
      const id = vocabulary.ids.get(unknown);
      if (id === undefined)
        throw unknownText(text, `its unk_token ${JSON.stringify(unknown)} is not in the vocabulary`);
      ids.push(id);
      places?.push(0, text.length);
    },
  };
}
