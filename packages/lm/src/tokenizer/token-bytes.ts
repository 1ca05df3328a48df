import { PosttrainError } from '@posttrain/interfaces';
import { byteOfFallbackToken, bytesOfToken } from './decoders/decoder.js';

/** What single tokens add to a text, as bytes. */
export interface TokenBytes {
  /** By token id, behind other text; undefined: nothing that is known on its own. */
  readonly inside: readonly (Uint8Array | undefined)[];
  /** The same for the first token of a text, whose decoder may strip a space; undefined where that changes nothing. */
  readonly first: readonly (Uint8Array | undefined)[] | undefined;
}

/** A tokenizer whose tokens do not each stand for bytes of their own. */
export class TokenBytesError extends PosttrainError {
  constructor(what: string) {
    super('TOKEN_BYTES', `the tokens of this tokenizer have no bytes of their own: ${what}; constraints need that`);
  }
}

interface DecoderConfig {
  readonly type?: string;
  readonly decoders?: readonly DecoderConfig[];
  readonly prepend_scheme?: string;
  readonly replacement?: string;
  readonly content?: string;
  readonly start?: number;
  readonly stop?: number;
  readonly pattern?: { readonly String?: string };
}

const encoder = new TextEncoder();

/** The bytes of a token's name, and how many of its spaces are lost at the start of a text. @throws TokenBytesError */
export function tokenBytesOf(decoder: unknown, names: readonly (string | undefined)[]): TokenBytes {
  const config = (decoder ?? {}) as DecoderConfig;
  const parts = config.type === 'Sequence' ? (config.decoders ?? []) : [config];
  const types = parts.map(({ type }) => type).join(' ');
  if (types === 'ByteLevel') {
    const bytesOf = (name: string) => Uint8Array.from(bytesOfToken(name) ?? encoder.encode(name));
    return { inside: names.map((name) => (name === undefined ? undefined : bytesOf(name))), first: undefined };
  }
  const known =
    /^(?:Replace(?: ByteFallback)?(?: Fuse(?: Strip)?)?|(?:ByteFallback )?(?:Fuse )?Metaspace|Metaspace ByteFallback(?: Fuse)?)$/;
  const find = (wanted: string) => parts.find(({ type }) => type === wanted);
  const [metaspace, replace, strip] = [find('Metaspace'), find('Replace'), find('Strip')];
  const plain =
    (!replace || (replace.content === ' ' && replace.pattern?.String !== undefined)) &&
    (!strip || (strip.content === ' ' && strip.stop === 0));
  if (!known.test(types) || !plain) throw new TokenBytesError(`it decodes with ${types === '' ? 'nothing' : types}`);
  const marker = metaspace?.replacement ?? replace!.pattern!.String!;
  const lost = metaspace ? (metaspace.prepend_scheme === 'never' ? 0 : Infinity) : (strip?.start ?? 0);
  const hasBytes = find('ByteFallback') !== undefined;
  const bytesOf = (name: string | undefined, isFirst: boolean): Uint8Array | undefined => {
    if (name === undefined) return undefined;
    const byte = hasBytes ? byteOfFallbackToken(name) : undefined;
    // Metaspace takes markers away, Strip spaces.
    if (byte !== undefined)
      return isFirst && byte === 0x20 && strip && lost > 0 ? new Uint8Array() : Uint8Array.of(byte);
    const text = name.replaceAll(marker, ' ');
    if (!isFirst || lost === 0) return encoder.encode(text);
    if (metaspace) return encoder.encode(name.replaceAll(marker, ''));
    return encoder.encode(text.replace(/^ */, (spaces) => spaces.slice(lost)));
  };
  return {
    inside: names.map((name) => bytesOf(name, false)),
    first: lost === 0 ? undefined : names.map((name) => bytesOf(name, true)),
  };
}
