import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import type { FuzzModule } from '../../../../testing/fuzz.js';
import { TokenizerTextError } from '../../src/tokenizer/errors.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';

type Json = Record<string, unknown>;

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const read = (path: string) => JSON.parse(readFileSync(join(import.meta.dirname, path), 'utf8'));

/** Small tokenizers of every kind, in one document with their configuration, so that both are damaged. */
function corpus(): Uint8Array[] {
  const { bases, cases } = read('../goldens/tokenizer-settings/settings.json');
  const files = Object.values(
    cases as Record<string, { base: string; changes: object; config: object; files: object }>,
  ).map(({ base, changes, config, files: others }) => {
    const tokenizer = structuredClone({ ...bases[base], ...changes });
    // Few tokens: most of a mutant's luck should go to the components.
    if (tokenizer.model.type !== 'Unigram') {
      const kept = Object.entries(tokenizer.model.vocab as Record<string, number>).filter(([token]) =>
        /^[\w\u2581.<>[\]/Ġ]+$/.test(token),
      );
      tokenizer.model.vocab = Object.fromEntries(kept);
    }
    const { config: model_config, ...more } = others as { config?: object };
    return { tokenizer, config, model_config, ...more };
  });
  const precompiled = {
    type: 'Precompiled',
    precompiled_charsmap: read('../goldens/precompiled/charsmaps.json').small,
  };
  const all = {
    type: 'Sequence',
    normalizers: [
      precompiled,
      { type: 'Nmt' },
      { type: 'NFKC' },
      { type: 'Replace', pattern: { Regex: ' {2,}|(?:a|b)*c' }, content: ' ' },
    ],
  };
  return [...files, { tokenizer: { ...files[0]!.tokenizer, normalizer: all }, config: {} }].map(encode);
}

const TEXT = "The quick  brown fox's <s>12 ab\u0301 漢字 😀\r\n\u0085</s> ".repeat(20);

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  tokenizer: {
    corpus,
    run(mutant) {
      let document: unknown;
      try {
        document = JSON.parse(new TextDecoder().decode(mutant));
      } catch {
        throw new PosttrainError('TEST', 'not JSON: readJsonObject refuses it');
      }
      if (typeof document !== 'object' || document === null) throw new PosttrainError('TEST', 'no object');
      const { tokenizer, config, special_tokens_map, added_tokens, model_config } = document as Record<string, Json>;
      const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);
      if (!isObject(tokenizer) || (config !== undefined && !isObject(config)))
        throw new PosttrainError('TEST', 'no object');
      const loaded = new Tokenizer({
        tokenizer: tokenizer as Json,
        ...(config && { config }),
        ...(isObject(special_tokens_map) && { specialTokensMap: special_tokens_map as Json }),
        ...(isObject(added_tokens) && { addedTokens: added_tokens as Json }),
        ...(isObject(model_config) && { modelConfig: model_config as Json }),
      });
      const ids = loaded.encode(TEXT);
      loaded.encodeWithOffsets(TEXT, { whole: true });
      try {
        loaded.encodeWithOffsets(TEXT);
      } catch (error) {
        // Vocabularies that lack characters are meant to be here; the reference's offsets of theirs are not.
        if (!(error instanceof TokenizerTextError)) throw error;
      }
      const known = ids.filter((id) => id < loaded.vocabSize);
      const text = loaded.decode(known);
      const stream = loaded.streamDecoder({ skipSpecialTokens: false });
      const streamed = known.map((id) => stream.push(id)).join('') + stream.flush();
      if (streamed !== text) throw new Error(`stream ${JSON.stringify(streamed)} is not ${JSON.stringify(text)}`);
    },
  },
};
