import { isPosttrainError } from '@posttrain/interfaces';
import type { Tokenizer } from '@posttrain/lm';
import type { TokenLogProb } from './served-model.js';

type Name = Pick<TokenLogProb, 'token' | 'bytes' | 'tokenId'>;

type ByteTable = ReturnType<Tokenizer['tokenBytes']>;

const tables = new WeakMap<Tokenizer, ByteTable | undefined>();
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * What the API calls a token: the text that it adds, or `bytes:\xe6\x9d` where its bytes are part of a character, as OpenAI
 * writes it. `bytes` joined over the tokens of a completion are its text; a special token, which adds none, has null.
 *
 * @param isFirst whether nothing is before it, where some decoders strip a space
 */
export function nameOf(tokenizer: Tokenizer, tokenId: number, isFirst: boolean): Name {
  // A row of a padded embedding is no token and has no text.
  if (tokenizer.idToToken(tokenId) === undefined) return { token: '', bytes: null, tokenId };
  if (tokenizer.specialIds.has(tokenId)) return { token: tokenizer.decode([tokenId]), bytes: null, tokenId };
  const table = tableOf(tokenizer);
  const bytes = ((isFirst && table?.first) || table?.inside)?.[tokenId];
  if (!bytes) {
    const token = tokenizer.decode([tokenId]);
    return { token, bytes: token.includes('\uFFFD') ? null : [...Buffer.from(token, 'utf8')], tokenId };
  }
  return { token: textOf(bytes) ?? `bytes:${[...bytes].map(escaped).join('')}`, bytes: [...bytes], tokenId };
}

const escaped = (byte: number): string => `\\x${byte.toString(16).padStart(2, '0')}`;

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Undefined for a tokenizer whose tokens have no bytes of their own. */
function tableOf(tokenizer: Tokenizer): ByteTable | undefined {
  if (tables.has(tokenizer)) return tables.get(tokenizer);
  let table: ByteTable | undefined;
  try {
    table = tokenizer.tokenBytes();
  } catch (error) {
    if (!isPosttrainError(error) || error.code !== 'TOKEN_BYTES') throw error;
  }
  tables.set(tokenizer, table);
  return table;
}

/** What vLLM calls a token where `return_tokens_as_token_ids` is asked for, and where two have one name. */
export const idName = (tokenId: number): string => `token_id:${tokenId}`;
