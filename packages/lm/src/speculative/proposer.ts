import type { DecodeRow } from '../sampling/decode-row.js';
import type { DrawnToken, RowState } from '../sampling/draw-next.js';
import type { TokenDistribution } from './token-distribution.js';

/** A row that could take proposals. */
export interface ProposalRequest {
  /** Names the row from its first request to its `release`. */
  readonly id: number;
  readonly row: DecodeRow;
  readonly state: RowState;
  /** More tokens than these could not be used: the row ends before. */
  readonly most: number;
}

/** Tokens that may come next. */
export interface Proposal {
  readonly tokens: readonly number[];
  /**
   * The distributions that the tokens were drawn from, one each. Absent when nothing was drawn (a
   * look-up, greedy): then the row draws for itself and a token is kept when it is what was drawn, which gives the same
   * tokens as without proposals.
   */
  readonly distributions?: readonly TokenDistribution[];
}

export const NO_PROPOSAL: Proposal = { tokens: [] };

/** What a row made of a proposal. */
export interface VerifiedRun {
  /** The kept tokens and one more, or fewer where the row ends. At least one. */
  readonly drawn: readonly DrawnToken[];
  /** Tokens of the proposal. */
  readonly proposed: number;
  /** Those of them that were kept. */
  readonly accepted: number;
}

/** Guesses how rows go on, for the model to check in one pass. Only the speed depends on it. */
export interface Proposer {
  /** One proposal per request. */
  propose(requests: readonly ProposalRequest[]): Promise<Proposal[]>;
  /** What became of a row's last proposal. */
  verified?(id: number, run: VerifiedRun): void;
  /** The row is done. */
  release(id: number): void;
  /** All rows are done. */
  close(): void;
}
