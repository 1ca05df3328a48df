import type { DecodeRow } from '../sampling/decode-row.js';
import type { DrawnToken, RowState } from '../sampling/draw-next.js';
import type { Logits } from '../sampling/sampler.js';
import type { TokenDistribution } from './token-distribution.js';
import type { Acceptance } from './typical-acceptance.js';

/** A row that could take proposals. */
export interface ProposalRequest {
  /** Names the row from its first request to its `release`. */
  readonly id: number;
  readonly row: DecodeRow;
  readonly state: RowState;
  /** More tokens one after the other than these could not be used: the row ends before. */
  readonly most: number;
  /** With `needsHidden`: the final, normalised hidden state [width] that the row's last token was drawn from. */
  readonly hidden?: Float32Array;
}

/** Tokens that may come next. */
export interface Proposal {
  readonly tokens: readonly number[];
  /**
   * A tree of tokens (SpecInfer, arXiv 2305.09781): the place in `tokens` of the one that each follows, or −1 for those that
   * may come next. Those that follow the same one are tried in their order. Default: each follows the one before it.
   */
  readonly parents?: readonly number[];
  /**
   * The distributions that the tokens were drawn from, one each: of a tree, each given those before it that follow the same
   * token. Absent when nothing was drawn (a look-up, greedy): then the row draws for itself and a token is kept when it is
   * what was drawn, which gives the same tokens as without proposals.
   */
  readonly distributions?: readonly TokenDistribution[];
  /**
   * Not exact: the longest path whose tokens this keeps is kept as it is, without verification, and one token drawn behind it.
   * Rows that are greedy, have a constraint or a hook, or report `samplingLogProbs` or `keptTokens` are verified all the same.
   */
  readonly accepts?: Acceptance;
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
  /** The places in the proposal of all of `drawn` but the last. */
  readonly path: readonly number[];
}

/** The pass that verified a proposal: what the model says of all of it, also where it was refused. */
export interface VerifiedPass extends VerifiedRun {
  /**
   * Logits [vocabulary] after the row's last token, and then after each token of the proposal, before the row's settings. Valid
   * during the call; they must not be changed.
   */
  readonly logits: readonly Logits[];
  /** With `needsHidden`: the final, normalised hidden states [width] beside them, valid as long. */
  readonly hidden?: readonly Float32Array[];
}

/** Guesses how rows go on, for the model to check in one pass. Only the speed depends on it, unless it is not exact. */
export interface Proposer {
  /** Whether what is generated has the model's own distribution: false where proposals have `accepts`. Default true. */
  readonly isExact?: boolean;
  /** Whether requests have `hidden`. Default false. */
  readonly needsHidden?: boolean;
  /** One proposal per request. */
  propose(requests: readonly ProposalRequest[]): Promise<Proposal[]>;
  /** What became of a row's last proposal, of which the row may have had no room for the last tokens. */
  verified?(id: number, run: VerifiedPass): void;
  /** The row is done. */
  release(id: number): void;
  /** All rows are done. */
  close(): void;
}

/** The proposal with as many of its tokens as there is room for: the first ones, which follow none that are left out. */
export function cutProposal({ tokens, parents, distributions, ...rest }: Proposal, room: number): Proposal {
  return {
    ...rest,
    tokens: tokens.slice(0, room),
    ...(parents && { parents: parents.slice(0, room) }),
    ...(distributions && { distributions: distributions.slice(0, room) }),
  };
}
