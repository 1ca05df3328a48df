import type { TokenConstraint } from '../constraint/token-constraint.js';

/** What the rules of a sampler know of a row besides its logits. */
export interface SamplerContext {
  readonly prompt: readonly number[];
  readonly generated: readonly number[];
  /** How often each token was generated. */
  readonly counts: ReadonlyMap<number, number>;
  /** Tokens of the prompt and generated ones. */
  readonly seen: ReadonlySet<number>;
  /** What may come next; absent: everything. */
  readonly constraint?: TokenConstraint | undefined;
}

/** The context of a row as it grows. What few rules need is made when the first asks, and kept up from then on. */
export class TokenHistory implements SamplerContext {
  readonly prompt: readonly number[];
  readonly generated: number[] = [];
  readonly constraint: TokenConstraint | undefined;
  #counts: Map<number, number> | undefined;
  #seen: Set<number> | undefined;

  constructor(prompt: readonly number[], constraint?: TokenConstraint) {
    this.prompt = prompt;
    this.constraint = constraint;
  }

  get counts(): ReadonlyMap<number, number> {
    if (!this.#counts) {
      this.#counts = new Map();
      for (const token of this.generated) this.#count(this.#counts, token);
    }
    return this.#counts;
  }

  get seen(): ReadonlySet<number> {
    this.#seen ??= new Set([...this.prompt, ...this.generated]);
    return this.#seen;
  }

  /** Whether the constraint is complete and nothing more may come. */
  get isExhausted(): boolean {
    return this.constraint?.isComplete === true && this.constraint.allowed().every((word) => word === 0);
  }

  /** Adds a token that was drawn. An end token ends the row, so that a constraint never hears of it. */
  push(token: number, isEnd = false): void {
    this.generated.push(token);
    if (this.#counts) this.#count(this.#counts, token);
    this.#seen?.add(token);
    if (!isEnd) this.constraint?.accept(token);
  }

  #count(counts: Map<number, number>, token: number): void {
    counts.set(token, (counts.get(token) ?? 0) + 1);
  }
}
