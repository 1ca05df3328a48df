import { InvalidGgufError, UnsupportedGgufError } from './errors.js';

/** Most bytes of a header; the parser holds no more than 50 MB. Headers of models with 262 144 tokens have 15 MB. */
export const MAX_HEADER_BYTES = 48_000_000;
/** Of the header that the parser reads at a time. */
const PARSER_CHUNK_BYTES = 2_000_000;
/** A text longer than that could leave the parser behind by more than a chunk. */
const MAX_TEXT_BYTES = 1_900_000;
const MAX_KEY_BYTES = 65_535;
const MAX_NAME_BYTES = 255;
const MAX_DIMENSIONS = 4;
const MAX_ARRAY_LENGTH = 1_000_000;
/** Of metadata, and of tensors. */
const MAX_ENTRIES = 100_000;
const TEXT = 8;
const ARRAY = 9;
/** Bytes of a value of each type; texts and arrays have a length of their own. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8] as const;

/** Says that the walk needs more of the header than it was given. */
const NEEDS_MORE = Symbol('needs more');

type ByteRange = readonly [start: number, end: number];

export interface HeaderBounds {
  /** Byte position of the end of the header, before the padding. */
  readonly end: number;
  /** By metadata key: the bytes of the last text of its value, where the parser would cut that short. */
  readonly cutTexts: ReadonlyMap<string, ByteRange>;
}

/**
 * Follows every length and count of a GGUF header without keeping a value: what it accepts lies within the file and
 * within the parser's limits. The parser itself takes the bytes after a file's end for zeros, and a text that crosses
 * the end of what it has read so far for the part that it has.
 *
 * @param read the first bytes of the file, as many as asked for or as there are
 * @throws InvalidGgufError, UnsupportedGgufError
 */
export async function checkHeaderBounds(
  path: string,
  fileBytes: number,
  read: (bytes: number) => Promise<Uint8Array>,
): Promise<HeaderBounds> {
  for (let wanted = 1 << 20; ; wanted *= 2) {
    const bytes = await read(Math.min(wanted, fileBytes, MAX_HEADER_BYTES));
    const bounds = new HeaderWalk(path, fileBytes, bytes).run();
    if (bounds !== NEEDS_MORE) return bounds;
    if (bytes.length < wanted) {
      throw new InvalidGgufError(path, `its header is longer than ${MAX_HEADER_BYTES} bytes; no model needs that.`);
    }
  }
}

const chunkOf = (position: number): number => Math.floor(position / PARSER_CHUNK_BYTES);

class HeaderWalk {
  readonly #path: string;
  readonly #fileBytes: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(path: string, fileBytes: number, bytes: Uint8Array) {
    this.#path = path;
    this.#fileBytes = fileBytes;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): HeaderBounds | typeof NEEDS_MORE {
    try {
      return this.#walk();
    } catch (error) {
      if (error === NEEDS_MORE) return NEEDS_MORE;
      throw error;
    }
  }

  #walk(): HeaderBounds {
    this.#checkMagicAndVersion();
    const tensors = this.#count('the count of tensors', 33, MAX_ENTRIES);
    const entries = this.#count('the count of metadata', 13, MAX_ENTRIES);
    const cutTexts = new Map<string, ByteRange>();
    const keys = new Set<string>();
    for (let i = 0; i < entries; i++) {
      const key = this.#decoded(this.#text('a metadata key', MAX_KEY_BYTES));
      if (keys.has(key)) throw this.#invalid(`the metadata has the key "${key}" twice`);
      keys.add(key);
      const text = this.#value(key, this.#uint32());
      if (text && chunkOf(text[0]) !== chunkOf(text[1])) cutTexts.set(key, text);
    }
    for (let i = 0; i < tensors; i++) this.#tensor();
    return { end: this.#at, cutTexts };
  }

  #checkMagicAndVersion(): void {
    const magic = this.#uint32();
    if (magic !== 0x46554747) throw this.#invalid('it does not begin with "GGUF": it is another kind of file');
    const version = this.#uint32();
    if (version !== 0 && (version & 0xffff) === 0) {
      throw new UnsupportedGgufError(this.#path, 'it is big-endian; convert the model again for little-endian hosts.');
    }
    if (version !== 2 && version !== 3) {
      throw new UnsupportedGgufError(this.#path, `it has version ${version} of the format; versions 2 and 3 are read.`);
    }
  }

  /** Passes a value; gives the bytes of the last text in it. */
  #value(key: string, type: number): ByteRange | undefined {
    if (type === TEXT) return this.#text(`the text of "${key}"`, MAX_TEXT_BYTES);
    if (type === ARRAY) return this.#array(key);
    this.#take(this.#bytesOf(type, key));
    return undefined;
  }

  #array(key: string): ByteRange | undefined {
    const type = this.#uint32();
    if (type === ARRAY) throw this.#invalid(`"${key}" is an array of arrays, which no reader of the format takes`);
    const elementBytes = type === TEXT ? 8 : this.#bytesOf(type, key);
    const length = this.#count(`the length of "${key}"`, elementBytes, MAX_ARRAY_LENGTH);
    let last: ByteRange | undefined;
    if (type !== TEXT) this.#take(length * elementBytes);
    else for (let i = 0; i < length; i++) last = this.#text(`a text of "${key}"`, MAX_TEXT_BYTES);
    return last;
  }

  #tensor(): void {
    const name = this.#decoded(this.#text('the name of a tensor', MAX_NAME_BYTES));
    const dimensions = this.#uint32();
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw this.#invalid(`tensor "${name}" has ${dimensions} dimensions; 1 to ${MAX_DIMENSIONS} are possible`);
    }
    this.#take(dimensions * 8 + 4 + 8);
  }

  #bytesOf(type: number, key: string): number {
    const bytes = VALUE_BYTES[type];
    if (bytes === undefined) throw this.#invalid(`"${key}" has the type ${type}, which the format does not know`);
    return bytes;
  }

  #text(what: string, maxBytes: number): ByteRange {
    const length = this.#count(`the length of ${what}`, 1, maxBytes);
    const start = this.#take(length);
    return [start, start + length];
  }

  #decoded(range: ByteRange): string {
    return new TextDecoder().decode(this.#bytes.subarray(...range));
  }

  /** A count of things that take at least `bytesOfOne` each, and so cannot be more than the file has room for. */
  #count(what: string, bytesOfOne: number, most: number): number {
    const count = this.#view.getBigUint64(this.#take(8), true);
    if (count > BigInt(Math.floor((this.#fileBytes - this.#at) / bytesOfOne))) {
      throw this.#invalid(`${what} is ${count}, more than the file has room for`);
    }
    if (count > BigInt(most)) throw this.#invalid(`${what} is ${count}; at most ${most} is possible`);
    return Number(count);
  }

  #uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  #take(bytes: number): number {
    const start = this.#at;
    if (start + bytes > this.#fileBytes) {
      throw this.#invalid(`the file ends inside its header, after ${this.#fileBytes} bytes; was it copied completely?`);
    }
    if (start + bytes > this.#bytes.length) throw NEEDS_MORE;
    this.#at = start + bytes;
    return start;
  }

  #invalid(problem: string): InvalidGgufError {
    return new InvalidGgufError(this.#path, `${problem}.`);
  }
}
