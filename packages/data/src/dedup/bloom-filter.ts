import { createHash } from 'node:crypto';
import { DataOptionError } from '../errors.js';

/** Most bytes of a filter. */
const MAX_BYTES = 2 ** 32;

/**
 * Bloom filter (Bloom 1970): of n texts and a rate p of false positives it has m = -n ln p / (ln 2)² bits, of which a text sets k = m/n ln 2. The bits are
 * h1 + i·h2 + (i³ - i)/6 modulo m (enhanced double hashing, Dillinger and Manolios 2004) of two halves of SHA-256. Never says of a text
 * that was added that it was not.
 */
export class BloomFilter {
  readonly bits: number;
  readonly hashes: number;
  readonly #bytes: Uint8Array;

  /** @throws DataOptionError where no such filter fits */
  constructor(expected: number, falsePositiveRate: number) {
    if (!(expected >= 1) || !(falsePositiveRate > 0 && falsePositiveRate < 1)) {
      throw new DataOptionError('BloomFilter', 'expected must be at least 1, and the rate between 0 and 1.');
    }
    this.bits = Math.max(8, Math.ceil((-expected * Math.log(falsePositiveRate)) / Math.LN2 ** 2));
    this.hashes = Math.max(1, Math.round((this.bits / expected) * Math.LN2));
    const bytes = Math.ceil(this.bits / 8);
    if (bytes > MAX_BYTES) {
      throw new DataOptionError(
        'BloomFilter',
        `needs ${bytes} bytes, and at most ${MAX_BYTES} are possible; expect fewer texts, or a greater rate.`,
      );
    }
    this.#bytes = new Uint8Array(bytes);
  }

  /** Adds a text. Returns whether it, or one that cannot be told from it, was there before. */
  add(text: string): boolean {
    const digest = createHash('sha256').update(text, 'utf8').digest();
    let at = digest.readUIntBE(0, 6) % this.bits;
    let step = digest.readUIntBE(6, 6) % this.bits;
    let seen = true;
    for (let i = 0; i < this.hashes; i++) {
      const byte = Math.floor(at / 8);
      const bit = 1 << (at % 8);
      if ((this.#bytes[byte]! & bit) === 0) {
        seen = false;
        this.#bytes[byte]! |= bit;
      }
      at = (at + step) % this.bits;
      step = (step + i + 1) % this.bits;
    }
    return seen;
  }
}
