import type { RowSoftmax } from '../runner/step-memory.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import { type DrawnToken, drawNext, type RowState } from '../sampling/draw-next.js';
import { type Logits, reportChosen, tokenDistribution } from '../sampling/sampler.js';
import type { Proposal, VerifiedRun } from './proposer.js';
import { verifyToken } from './speculative-sampling.js';

/**
 * Draws the tokens that follow from the logits after each token of a proposal, as far as it holds. Random numbers belong
 * to positions, not to passes: what is thrown away is independent of what is drawn there later, and rows do not
 * depend on each other.
 *
 * @param scores one row more than the proposal has tokens: the first is what follows before any of them
 * @param isLast asked after every token: whether the row ends with it
 */
export function verifyProposal(
  row: DecodeRow,
  state: RowState,
  proposal: Proposal,
  scores: { readonly logits: readonly Logits[]; readonly softmax?: readonly RowSoftmax[] },
  isLast: (token: number) => boolean,
): VerifiedRun {
  const drawn: DrawnToken[] = [];
  for (let i = 0; ; i++) {
    const proposed = proposal.tokens[i];
    const draft = proposal.distributions?.[i];
    const here = { logits: scores.logits[i]!, softmax: scores.softmax?.[i] };
    const next =
      proposed === undefined || draft === undefined
        ? drawNext(row, state, here)
        : drawNext(row, state, here, ({ logits, softmax }, settings) => {
            const [, accept, residual] = positionUniforms(row, state.generated.length);
            const target = tokenDistribution(logits, settings, state);
            const { token } = verifyToken(target, draft, proposed, { accept, residual });
            return reportChosen(token, logits, settings, softmax);
          });
    drawn.push(next);
    const isKept = next.token === proposed;
    if (isKept && !isLast(next.token)) continue;
    return { drawn, proposed: proposal.tokens.length, accepted: drawn.length - (isKept ? 0 : 1) };
  }
}

/**
 * The random numbers of a position: the first draws a token, the draft's or without a draft, so that a draft that is the
 * model itself changes nothing; the others accept it and replace it.
 */
export function positionUniforms(row: DecodeRow, position: number): readonly [number, number, number] {
  const [draw, accept, residual] = row.key.child(position).uniformHost(3);
  return [draw!, accept!, residual!];
}
