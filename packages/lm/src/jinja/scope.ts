import { overLimit } from './errors.js';
import { LIMITS } from './run.js';
import type { Value } from './values.js';

/** Variables of a template, loop, macro or block; what is not here is looked up around it. */
export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #around: Scope | undefined;

  constructor(around?: Scope) {
    this.#around = around;
  }

  /** The scope of the template itself, which lies in that of its variables. */
  get root(): Scope {
    const around = this.#around;
    return around === undefined || around.#around === undefined ? this : around.root;
  }

  get(name: string): Value | undefined {
    for (let scope: Scope | undefined = this; scope; scope = scope.#around) {
      const value = scope.#variables.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }
}

/** Rendered text, in the pieces it is made of. */
export class Output {
  readonly #pieces: string[] = [];
  #length = 0;

  push(text: string): void {
    this.#length += text.length;
    if (this.#length > LIMITS.textLength) {
      overLimit(`the rendered text would have more than ${LIMITS.textLength} characters.`);
    }
    this.#pieces.push(text);
  }

  text(): string {
    return this.#pieces.join('');
  }
}
