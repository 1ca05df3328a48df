import { UnsupportedGgufError } from './errors.js';
import type { GgufFile } from './gguf-file.js';
import type { GgufMetadata } from './metadata.js';

/** The metadata of a file under the name of its architecture: `size('block_count')` is `llama.block_count`. */
export class ArchitectureKeys {
  readonly file: GgufFile;
  readonly #name: string;
  readonly #metadata: GgufMetadata;

  constructor(file: GgufFile, name: string) {
    this.file = file;
    this.#name = name;
    this.#metadata = file.metadata;
  }

  /** A positive integer, of all layers alike. @throws InvalidGgufError when it is missing or another */
  size(name: string): number {
    const value = this.#metadata.sameNumber(this.#key(name));
    if (value !== undefined && Number.isSafeInteger(value) && value > 0) return value;
    return this.fail(name, 'a positive integer');
  }

  /** A positive integer; undefined when it is missing or 0. */
  optionalSize(name: string): number | undefined {
    return (this.#metadata.sameNumber(this.#key(name)) ?? 0) === 0 ? undefined : this.size(name);
  }

  number(name: string): number | undefined {
    return this.#metadata.number(this.#key(name));
  }

  /** See `GgufMetadata.decimal`. */
  decimal(name: string): number | undefined {
    return this.#metadata.decimal(this.#key(name));
  }

  /** A decimal above 0. @throws InvalidGgufError when it is missing or another */
  positive(name: string): number {
    const value = this.decimal(name);
    return value !== undefined && value > 0 && value < Infinity ? value : this.fail(name, 'a positive number');
  }

  text(name: string): string | undefined {
    return this.#metadata.text(this.#key(name));
  }

  boolean(name: string): boolean | undefined {
    return this.#metadata.boolean(this.#key(name));
  }

  numbers(name: string): readonly number[] | undefined {
    return this.#metadata.numbers(this.#key(name));
  }

  booleans(name: string): readonly boolean[] | undefined {
    return this.#metadata.booleans(this.#key(name));
  }

  fail(name: string, expected: string): never {
    return this.#metadata.fail(this.#key(name), expected);
  }

  unsupported(name: string, problem: string): UnsupportedGgufError {
    return new UnsupportedGgufError(this.file.path, `${this.#key(name)} ${problem}`);
  }

  #key(name: string): string {
    return `${this.#name}.${name}`;
  }
}
