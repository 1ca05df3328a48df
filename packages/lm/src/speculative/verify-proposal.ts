import type { DecodeRow } from '../sampling/decode-row.js';
import { type DrawnToken, type DrawToken, drawNext, type ModelScores, type RowState } from '../sampling/draw-next.js';
import { reportChosen, tokenDistribution } from '../sampling/sampler.js';
import { TokenHistory } from '../sampling/token-history.js';
import type { Proposal, VerifiedRun } from './proposer.js';
import { type Candidate, verifyCandidates } from './speculative-sampling.js';
import { probabilityOf } from './token-distribution.js';

/**
 * Draws the tokens that follow from the logits after each token of a proposal, as far as one of its paths holds. Random
 * numbers belong to positions, not to passes: what is thrown away is independent of what is drawn there later, and rows do
 * not depend on each other.
 *
 * @param scores one more than the proposal has tokens: the first is what follows before any of them
 * @param isLast asked after every token: whether the row ends with it
 */
export function verifyProposal(
  row: DecodeRow,
  state: RowState,
  proposal: Proposal,
  scores: readonly ModelScores[],
  isLast: (token: number) => boolean,
): VerifiedRun {
  const { tokens, parents, distributions } = proposal;
  const drawn: DrawnToken[] = [];
  const path: number[] = [];
  for (const place of acceptedPath(row, state, proposal, scores)) {
    const token = tokens[place]!;
    const { logits, softmax } = scores[(path.at(-1) ?? -1) + 1]!;
    drawn.push(reportChosen(token, logits, row, softmax, { probability: 1, kept: [token] }));
    state.push(token, row.isEnd(token));
    if (isLast(token)) return { drawn, proposed: tokens.length, accepted: path.length + 1, path };
    path.push(place);
  }
  if (path.length > 0) {
    drawn.push(drawNext(row, state, scores[path.at(-1)! + 1]!));
    return { drawn, proposed: tokens.length, accepted: path.length, path };
  }
  for (;;) {
    const at = path.at(-1) ?? -1;
    const children = childrenOf(at, tokens.length, parents);
    const candidates = distributions ? children.map((i) => ({ token: tokens[i]!, draft: distributions[i]! })) : [];
    const next = drawNext(
      row,
      state,
      scores[at + 1]!,
      candidates.length > 0 ? verifying(row, state, candidates) : undefined,
    );
    drawn.push(next);
    const kept = children.find((i) => tokens[i] === next.token);
    if (kept === undefined || isLast(next.token)) {
      return { drawn, proposed: tokens.length, accepted: path.length + Number(kept !== undefined), path };
    }
    path.push(kept);
  }
}

/**
 * The longest path all of whose tokens are accepted, of equally long ones the likeliest; none where the proposal is to be verified.
 */
function acceptedPath(
  row: DecodeRow,
  state: RowState,
  { tokens, parents, accepts }: Proposal,
  scores: readonly ModelScores[],
): number[] {
  if (!accepts || row.temperature === 0 || row.constraint || row.hook || row.samplingLogProbs || row.keptTokens)
    return [];
  let best: { readonly path: number[]; readonly logProb: number } = { path: [], logProb: 0 };
  const search = (path: number[], logProb: number) => {
    if (path.length > best.path.length || (path.length === best.path.length && logProb > best.logProb)) {
      best = { path, logProb };
    }
    const at = path.at(-1) ?? -1;
    const children = childrenOf(at, tokens.length, parents);
    if (children.length === 0) return;
    const history = new TokenHistory(row.prompt);
    for (const token of [...state.generated, ...path.map((place) => tokens[place]!)]) history.push(token);
    const target = tokenDistribution(scores[at + 1]!.logits, row, history);
    for (const child of children) {
      const token = tokens[child]!;
      if (accepts(target, token)) search([...path, child], logProb + Math.log(probabilityOf(target, token)));
    }
  };
  search([], 0);
  return best.path;
}

/** The places of the tokens that follow the one at `at`. */
function childrenOf(at: number, count: number, parents: readonly number[] | undefined): number[] {
  if (!parents) return at + 1 < count ? [at + 1] : [];
  return parents.flatMap((parent, i) => (parent === at ? [i] : []));
}

/** Keeps one of the candidates, or draws another token. */
const verifying =
  (row: DecodeRow, state: RowState, candidates: readonly Candidate[]): DrawToken =>
  ({ logits, softmax }, settings) => {
    const uniforms = positionUniforms(row, state.generated.length, candidates.length);
    const target = tokenDistribution(logits, settings, state);
    const accept = candidates.map((_, i) => uniforms.accept(i));
    const { token } = verifyCandidates(target, candidates, { accept, residual: uniforms.residual });
    const kept = target.tokens.length < logits.length ? Array.from(target.tokens) : null;
    return reportChosen(token, logits, settings, softmax, { probability: probabilityOf(target, token), kept });
  };

/** The random numbers of a position. */
interface PositionUniforms {
  /** Draws the i-th candidate. The first also draws the token where there is no draft: one that is the model itself changes nothing. */
  draw(i: number): number;
  /** Keeps the i-th candidate. */
  accept(i: number): number;
  /** Draws a token in the place of all candidates. */
  readonly residual: number;
}

export function positionUniforms(row: DecodeRow, position: number, candidates = 1): PositionUniforms {
  const numbers = row.key.child(position).uniformHost(1 + 2 * candidates);
  return {
    draw: (i) => numbers[i === 0 ? 0 : 1 + 2 * i]!,
    accept: (i) => numbers[i === 0 ? 1 : 2 + 2 * i]!,
    residual: numbers[2]!,
  };
}
