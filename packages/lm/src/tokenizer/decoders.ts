import { ByteFallbackDecoder, type Decoder, MetaspaceDecoder, SequenceDecoder } from '@huggingface/tokenizers';

/**
 * Byte fallback as the reference implementation decodes it: a run of `<0xXX>` tokens that is not UTF-8 as a whole gives
 * one U+FFFD per byte, and a byte order mark is a character like others. The library drops the mark and decodes the
 * valid parts of an invalid run.
 */
class ExactByteFallback extends ByteFallbackDecoder {
  override decode_chain(tokens: string[]): string[] {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const decoded: string[] = [];
    let run: number[] = [];
    const endRun = () => {
      if (run.length === 0) return;
      try {
        decoded.push(decoder.decode(Uint8Array.from(run)));
      } catch {
        decoded.push('\uFFFD'.repeat(run.length));
      }
      run = [];
    };
    for (const token of tokens) {
      const byte = byteOfFallbackToken(token);
      if (byte !== undefined) run.push(byte);
      else {
        endRun();
        decoded.push(token);
      }
    }
    endRun();
    return decoded;
  }
}

/**
 * Metaspace as the reference implementation decodes it: the first token loses all its markers, and none where the
 * scheme prepends none. The library always drops exactly one.
 */
class ExactMetaspace extends MetaspaceDecoder {
  override decode_chain(tokens: string[]): string[] {
    const prepends = (this.config as { prepend_scheme?: string }).prepend_scheme !== 'never';
    return tokens.map((token, i) => token.replaceAll(this.replacement, i === 0 && prepends ? '' : ' '));
  }
}

/** The byte of a token `<0xXX>`; undefined for every other token. */
export function byteOfFallbackToken(token: string): number | undefined {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}

/** Puts the exact decoders in the place of the library's, also inside a sequence. */
export function withExactDecoders(decoder: Decoder | null): Decoder | null {
  if (decoder instanceof ByteFallbackDecoder) return new ExactByteFallback(decoder.config as { type: 'ByteFallback' });
  if (decoder instanceof MetaspaceDecoder) return new ExactMetaspace(decoder.config as { type: 'Metaspace' });
  if (decoder instanceof SequenceDecoder) decoder.decoders = decoder.decoders.map((item) => withExactDecoders(item)!);
  return decoder;
}
