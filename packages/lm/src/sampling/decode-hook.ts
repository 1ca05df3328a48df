/** A row of generation as a hook sees it. */
export interface DecodeState {
  readonly prompt: readonly number[];
  /** Tokens of the completion so far, those that a hook put there included. */
  readonly generated: readonly number[];
}

/** What happens at the next position of a row. */
export interface DecodeStep {
  /** These tokens come next, one after the other, whatever the model says; nothing is drawn meanwhile. */
  readonly force?: readonly number[];
  /** Tokens that must not be drawn now. */
  readonly forbid?: readonly number[];
}

/**
 * Control of one row while it is generated. A hook belongs to one row and may keep state: it is asked once for every
 * position, in order. Tokens it puts in are not drawn: they are marked `forced`, and have no part in the
 * log-probability of the completion.
 */
export interface DecodeHook {
  /** Asked before a token is drawn; not while forced tokens are left. */
  next?(state: DecodeState): DecodeStep | undefined;
  /** Asked with every drawn token before it is kept: gives the tokens that take its place, or undefined to keep it. */
  replace?(state: DecodeState, token: number): readonly number[] | undefined;
}
