import { CommandLineError } from '../options/command-line-error.js';

/** A file of TRL's options, which remembers what was looked at: the rest has no meaning here. */
export class TrlFile {
  readonly #options: Map<string, unknown>;
  readonly #taken = new Set<string>();

  /** @param options null stands for what is not given, as in TRL */
  constructor(options: Readonly<Record<string, unknown>>) {
    this.#options = new Map(Object.entries(options).filter(([, value]) => value !== null));
    for (const [name, value] of Object.entries(options)) if (value === null) this.#taken.add(name);
  }

  has(name: string): boolean {
    return this.#options.has(name);
  }

  /** The value of an option, or TRL's default. */
  take(name: string, fallback?: unknown): unknown {
    this.#taken.add(name);
    return this.#options.has(name) ? this.#options.get(name) : fallback;
  }

  /** @throws CommandLineError for what is no number */
  number(name: string, fallback: number): number {
    const value = this.take(name, fallback);
    if (typeof value === 'number') return value;
    throw refusedTrl(name, `takes a number, not ${JSON.stringify(value)}.`);
  }

  /** @throws CommandLineError for a value that is none of `allowed`, of which the first is TRL's default */
  only(name: string, allowed: readonly unknown[], why: string): void {
    const value = this.take(name, allowed[0]);
    if (!allowed.includes(value)) throw refusedTrl(name, `${JSON.stringify(value)} has no equal here. ${why}`);
  }

  /** What nobody has looked at. */
  get rest(): readonly (readonly [string, unknown])[] {
    return [...this.#options].filter(([name]) => !this.#taken.has(name));
  }
}

/** An option of TRL's that means nothing here, or that has a value that means nothing. */
export const refusedTrl = (name: string, problem: string): CommandLineError =>
  new CommandLineError(`--config: TRL's ${name}: ${problem}`);
