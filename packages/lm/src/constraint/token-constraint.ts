/** Says which tokens may come next, so that what is generated has a form. Made for one row and told every token of it. */
export interface TokenConstraint {
  /**
   * Bit t % 32 of word t / 32: whether token t may come next. End tokens do not count: they may come when `isComplete`,
   * whatever their bits. Valid until the next `accept`.
   */
  allowed(): Uint32Array;
  /** Goes on behind a token, which was allowed and not an end token. */
  accept(token: number): void;
  /** Whether the row may end here. */
  readonly isComplete: boolean;
}

let scratch = new Uint32Array(0);

/** The mask of a constraint with the end tokens as its completeness says; valid until the next call. */
export function maskWithEnds(constraint: TokenConstraint, ends: ReadonlySet<number>, vocabulary: number): Uint32Array {
  const words = Math.ceil(vocabulary / 32);
  if (scratch.length !== words) scratch = new Uint32Array(words);
  const mask = constraint.allowed();
  scratch.fill(0);
  scratch.set(mask.length > words ? mask.subarray(0, words) : mask);
  for (const token of ends) {
    if (token >= vocabulary) continue;
    const bit = 1 << (token & 31);
    if (constraint.isComplete) scratch[token >> 5]! |= bit;
    else scratch[token >> 5]! &= ~bit;
  }
  return scratch;
}
