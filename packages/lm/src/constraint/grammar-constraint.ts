import type { Tokenizer } from '../tokenizer/index.js';
import type { TokenBytes } from '../tokenizer/token-bytes.js';
import { Automaton, type AutomatonState } from './automaton.js';
import type { AutomatonParts } from './automaton-parts.js';
import type { Grammar } from './expression.js';
import type { TokenConstraint } from './token-constraint.js';
import { TokenTrie } from './token-trie.js';

/** The tokens of a tokenizer, ready for any grammar. */
export class TokenTable {
  readonly bytes: TokenBytes;
  readonly inside: TokenTrie;
  readonly first: TokenTrie;

  /** Special tokens are not text, so that none is ever allowed. @throws TokenBytesError */
  constructor(tokenizer: Tokenizer) {
    this.bytes = tokenizer.tokenBytes();
    const { inside, first } = this.bytes;
    const text = (list: TokenBytes['inside']) =>
      list.map((bytes, id) => (tokenizer.specialIds.has(id) ? undefined : bytes));
    this.inside = new TokenTrie(text(inside));
    this.first = first ? new TokenTrie(text(first)) : this.inside;
  }
}

/** A grammar over the tokens of a tokenizer. What it finds out serves all rows that are constrained by it. */
export class CompiledConstraint {
  readonly #table: TokenTable;
  readonly #automaton: Automaton;

  /** @throws InvalidConstraintError */
  constructor(grammar: Grammar | AutomatonParts, table: TokenTable) {
    this.#table = table;
    this.#automaton = new Automaton(grammar);
  }

  /** Estimated memory of its caches now; they grow as states are found. */
  get bytes(): number {
    return this.#automaton.bytes;
  }

  /**
   * The constraint of one row.
   * @param isStart whether the row's text stands alone, and does not go on from other text
   */
  begin(isStart: boolean): TokenConstraint {
    return new GrammarConstraint(this.#automaton, this.#table, isStart && this.#table.first !== this.#table.inside);
  }
}

class GrammarConstraint implements TokenConstraint {
  readonly #automaton: Automaton;
  readonly #table: TokenTable;
  #state: AutomatonState;
  #isFirst: boolean;
  /** Only where the first token is another than those inside: its mask is not the state's. */
  #firstMask: Uint32Array | undefined;

  constructor(automaton: Automaton, table: TokenTable, isFirst: boolean) {
    this.#automaton = automaton;
    this.#table = table;
    this.#state = automaton.start;
    this.#isFirst = isFirst;
  }

  get isComplete(): boolean {
    return this.#state.isAccepting;
  }

  allowed(): Uint32Array {
    if (this.#isFirst) {
      this.#firstMask ??= this.#table.first.mask(this.#automaton, this.#state);
      return this.#firstMask;
    }
    if (!this.#state.mask) {
      this.#automaton.keepMask(this.#state, this.#table.inside.mask(this.#automaton, this.#state));
    }
    return this.#state.mask!;
  }

  accept(token: number): void {
    const { inside, first } = this.#table.bytes;
    const bytes = (this.#isFirst ? first! : inside)[token]!;
    this.#isFirst = false;
    for (const byte of bytes) {
      const next = this.#automaton.step(this.#state, byte);
      if (next === null) throw new RangeError(`token ${token} was not allowed here`);
      this.#state = next;
    }
  }
}
