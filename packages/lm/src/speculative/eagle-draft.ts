import type { Logits } from '../sampling/sampler.js';
import { DraftRun } from './draft-run.js';
import type { Proposal, ProposalRequest } from './proposer.js';

/** What a row drafts with an autoregressive head, which it asks step by step. */
export interface EagleDraft {
  /** Of each token so far: the place of the one that it follows, or −1. Absent: each follows the one before it. */
  readonly parents?: readonly number[];
  /** So far. */
  readonly tokens: readonly number[];
  /**
   * Takes what the head says after the places that were asked about, the row's own last token at first, and gives the places of the
   * tokens that it asks about next; none where it is done. `logits` are valid during the call.
   */
  next(logits: readonly Logits[]): readonly number[];
  /** When it is done. */
  readonly proposal: Proposal;
}

/** Makes the draft of a row; of the tokens in it no more than `most` follow one another. */
export type MakeEagleDraft = (request: ProposalRequest, most: number) => EagleDraft;

/** A chain of so many tokens, drawn one after the other with the row's own settings. */
export const chainDraft =
  (tokens: number): MakeEagleDraft =>
  (request, most) => {
    const run = new DraftRun(request);
    return {
      tokens: run.tokens,
      next([logits]) {
        const drawn = run.draw(logits!) !== undefined;
        return drawn && run.tokens.length < Math.min(tokens, most) ? [run.tokens.length - 1] : [];
      },
      get proposal() {
        return run.proposal;
      },
    };
  };
