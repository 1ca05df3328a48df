import { JinjaError } from './errors.js';
import type { Token } from './lexer.js';
import { LIMITS } from './run.js';

/** Recursion of the parser that one level of parentheses takes. */
const STEPS_PER_LEVEL = 3;

/** Names that are read and set while a macro is parsed, for its special variables. */
export interface NameUse {
  readonly read: Set<string>;
  readonly set: Set<string>;
}

/** The tokens of a template, read one after another, and how deeply what is read is nested. */
export class TokenReader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  protected readonly uses: NameUse[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  protected get current(): Token {
    return this.#tokens[this.#at]!;
  }

  protected get following(): Token {
    return this.#tokens[Math.min(this.#at + 1, this.#tokens.length - 1)]!;
  }

  protected next(): Token {
    const token = this.current;
    if (token.type !== 'end') this.#at++;
    return token;
  }

  protected isOperator(value: string): boolean {
    return this.current.type === 'operator' && this.current.value === value;
  }

  protected isName(value: string): boolean {
    return this.current.type === 'name' && this.current.value === value;
  }

  protected skipOperator(value: string): boolean {
    const found = this.isOperator(value);
    if (found) this.next();
    return found;
  }

  protected skipName(value: string): boolean {
    const found = this.isName(value);
    if (found) this.next();
    return found;
  }

  protected expectOperator(value: string): Token {
    if (!this.isOperator(value)) this.fail(`"${value}" was expected, not ${describe(this.current)}.`);
    return this.next();
  }

  protected expectName(): string {
    if (this.current.type !== 'name') this.fail(`a name was expected, not ${describe(this.current)}.`);
    return this.next().value;
  }

  protected fail(problem: string, line = this.current.line): never {
    throw new JinjaError('syntax', problem, line);
  }

  protected useName(name: string, how: keyof NameUse): void {
    for (const use of this.uses) if (how === 'set' || !use.set.has(name)) use[how].add(name);
  }

  protected nested<T>(inside: () => T): T {
    if (++this.#depth > LIMITS.expressionNesting * STEPS_PER_LEVEL) this.tooDeep();
    const result = inside();
    this.#depth--;
    return result;
  }

  protected tooDeep(): never {
    throw new JinjaError(
      'limit',
      `an expression is nested more than ${LIMITS.expressionNesting} deep.`,
      this.current.line,
    );
  }
}

const DESCRIPTIONS: Partial<Record<Token['type'], string>> = {
  data: 'text',
  variable_begin: '"{{"',
  variable_end: 'the end "}}"',
  block_begin: '"{%"',
  block_end: 'the end "%}"',
  end: 'the end of the template',
};

export function describe({ type, value }: Token): string {
  return DESCRIPTIONS[type] ?? (type === 'string' ? 'a text' : `"${value.slice(0, 60)}"`);
}
