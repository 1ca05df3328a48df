import { overLimit } from './errors.js';
import type { Filter } from './filter.js';
import type { Test } from './tests.js';
import type { Value } from './values.js';

/**
 * Bounds of one rendering, all counted, so that a template ends alike on every machine. They lie far above what chat
 * templates need: a conversation of a thousand messages takes some ten thousand steps.
 */
export const LIMITS = {
  /** Expressions, statements and elements looked at; texts count by their length as well. */
  steps: 10_000_000,
  /** UTF-16 code units of any one text, the rendered one included. */
  textLength: 16 * 1024 * 1024,
  /** Elements of any one list. */
  listLength: 2_000_000,
  /** Nested calls, loops and values, by the nesting of what they execute: keeps the JavaScript stack whole. */
  depth: 1500,
  /** Bits of any one integer. */
  integerBits: 16_384,
  /** Nesting of statements in a template; Python's own compiler ends at 100 or, of loops, at 20. */
  statementNesting: 60,
  /** Nesting of expressions in a template; Jinja2 in Python ends at about 70 parentheses. */
  expressionNesting: 150,
  /** UTF-16 code units of a template. */
  templateLength: 2 * 1024 * 1024,
} as const;

/** Code units of text that cost one step: copying text is cheaper than interpreting. */
const TEXT_PER_STEP = 32;

/** Strings put around what each `{% generation %}` block renders. */
export interface GenerationMarks {
  readonly open: string;
  readonly close: string;
}

/** What is looked up by name while a template runs: filters, tests and methods reach one another here. */
export interface Lookups {
  readonly filter: (name: string) => Filter | undefined;
  readonly test: (name: string) => Test | undefined;
  /** `value.name`. */
  readonly attribute: (run: Run, value: Value, name: string) => Value;
  /** `value[key]`. */
  readonly item: (run: Run, value: Value, key: Value) => Value;
}

/** The state of one rendering: what it has spent, where it is, and what it is given from outside. */
export class Run {
  /** The line of the statement that is executed. */
  line = 0;
  #steps = 0;
  #depth = 0;

  constructor(
    readonly now: Date,
    readonly marks: GenerationMarks | undefined,
    readonly lookups: Lookups,
  ) {}

  spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > LIMITS.steps) {
      overLimit(`the template takes more than ${LIMITS.steps} steps; does it loop over its own output, or for ever?`);
    }
  }

  /** Counts a text that is made; every text longer than its parts comes through here. */
  text(text: string): string {
    this.reserveText(text.length);
    return text;
  }

  /** Refuses a text before it is made. */
  reserveText(length: number): void {
    if (length > LIMITS.textLength) overLimit(`a text would have more than ${LIMITS.textLength} characters.`);
    if (length > TEXT_PER_STEP) this.spend(Math.floor(length / TEXT_PER_STEP));
  }

  /** Counts a list that is made, or looked through. */
  reserveList(length: number): void {
    if (length > LIMITS.listLength) overLimit(`a list would have more than ${LIMITS.listLength} elements.`);
    this.spend(length);
  }

  nested<T>(weight: number, inside: () => T): T {
    this.spend(weight);
    this.#depth += weight;
    if (this.#depth > LIMITS.depth)
      overLimit('values, macros or loops are nested too deeply; does a macro call itself for ever?');
    const result = inside();
    // Not in a finally: an error ends the rendering.
    this.#depth -= weight;
    return result;
  }
}
