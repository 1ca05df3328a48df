import { unknownText } from '../errors.js';
import type { Fields } from '../fields.js';
import type { Model } from './model.js';
import { Vocabulary } from './vocabulary.js';

/** `WordLevel`: a piece is a token or unknown. */
export function wordLevel(fields: Fields): Model {
  const vocabulary = Vocabulary.read(fields);
  const unknown = fields.string('unk_token');
  return {
    ...vocabulary.lookups,
    tokenize(text, ids, places) {
      const id = vocabulary.ids.get(text) ?? vocabulary.ids.get(unknown);
      if (id === undefined)
        throw unknownText(text, `its unk_token ${JSON.stringify(unknown)} is not in the vocabulary`);
      ids.push(id);
      places?.push(0, text.length);
    },
  };
}
