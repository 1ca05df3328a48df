import { overLimit } from './errors.js';
import { LIMITS } from './run.js';
import { Undefined, type Value } from './values.js';

/** Variables of a template, loop, macro or block; what is not here is looked up around it. */
export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #around: Scope | undefined;
  readonly #hidden: ReadonlySet<string> | undefined;

  /** @param hidden names that are undefined here until they are set, whatever they are around it */
  constructor(around?: Scope, hidden?: ReadonlySet<string>) {
    this.#around = around;
    this.#hidden = hidden;
  }

  get(name: string): Value | undefined {
    for (let scope: Scope | undefined = this; scope; scope = scope.#around) {
      const value = scope.own(name);
      if (value !== undefined) return value;
      if (scope.#hidden?.has(name)) return new Undefined(`'${name}' is undefined`);
    }
    return undefined;
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }

  /** What a block sees that is part of this scope: what has been set so far, in any frame around it if it is `scoped`. */
  context(scoped: boolean): Scope {
    return scoped ? new BlockContext(this) : this.#root();
  }

  /** Values of this scope and those around it, hidden names or not. */
  seen(name: string): Value | undefined {
    for (let scope: Scope | undefined = this; scope; scope = scope.#around) {
      const value = scope.own(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  protected own(name: string): Value | undefined {
    return this.#variables.get(name);
  }

  /** What the template itself has set, which lies in the scope of its variables; in a block, what that sees. */
  #root(): Scope {
    const around = this.#around;
    if (around === undefined || around instanceof BlockContext) return around ?? this;
    return around.#around === undefined ? new BlockContext(this) : around.#root();
  }
}

/** The variables that a block begins with. It knows values by name, not the frames that they are of. */
class BlockContext extends Scope {
  readonly #source: Scope;

  constructor(source: Scope) {
    super();
    this.#source = source;
  }

  protected override own(name: string): Value | undefined {
    return this.#source.seen(name);
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
