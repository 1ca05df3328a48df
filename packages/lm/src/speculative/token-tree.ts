import { PosttrainError } from '@posttrain/interfaces';
import { type Logits, tokenDistribution } from '../sampling/sampler.js';
import { TokenHistory } from '../sampling/token-history.js';
import type { Proposal, ProposalRequest } from './proposer.js';
import { type TokenDistribution, tokenAt } from './token-distribution.js';
import { positionUniforms } from './verify-proposal.js';

/** Whether a value can be the paths of `treeOf`, as far as an option sees it. */
export const isPaths = (value: unknown): boolean => Array.isArray(value) && value.every((path) => Array.isArray(path));

/** A token of a tree whose shape is known before its tokens are. */
export interface TreeNode {
  /** How many tokens are before it, from 0. */
  readonly depth: number;
  /** Its rank among the candidates for its place, from 0. */
  readonly rank: number;
  /** Its place in the tree's list; −1: it may come next. */
  readonly parent: number;
}

/**
 * The tree of some paths of ranks: parents before children, ranks rising among siblings. `heads`: how many there are, where each gives the
 * tokens of one depth.
 *
 * @throws PosttrainError
 */
export function treeOf(
  choices: readonly (readonly number[])[],
  { heads = Number.POSITIVE_INFINITY, vocabSize }: { readonly heads?: number; readonly vocabSize: number },
): TreeNode[] {
  const fail = (problem: string): never => {
    throw new PosttrainError('SPECULATIVE', `speculative: choices ${problem}`);
  };
  const paths = [...choices].sort((a, b) => a.length - b.length || compare(a, b));
  const places = new Map(paths.map((path, i) => [path.join(), i]));
  if (places.size < paths.length || paths.length === 0) fail('must be one path or more, each once');
  return paths.map((path) => {
    const shown = JSON.stringify(path);
    if (path.length === 0) fail(`has ${shown}; a path has one rank or more`);
    if (path.length > heads) fail(`has ${shown}; a path has 1 to ${heads} ranks, one a head`);
    const isRank = (rank: number) => Number.isInteger(rank) && rank >= 0 && rank < vocabSize;
    if (!path.every(isRank)) fail(`has ${shown}; ranks are whole numbers from 0`);
    const parent = path.length === 1 ? -1 : places.get(path.slice(0, -1).join());
    if (parent === undefined) return fail(`has ${shown}, but not the path that it goes on from`);
    return { depth: path.length - 1, rank: path.at(-1)!, parent };
  });
}

const compare = (a: readonly number[], b: readonly number[]): number => {
  const at = a.findIndex((rank, i) => rank !== b[i]);
  return at < 0 ? 0 : a[at]! - b[at]!;
};

/** A token that was drawn, and what from. */
export interface DrawnCandidate {
  readonly token: number;
  readonly distribution: TokenDistribution;
}

/**
 * So many different tokens for the place that is `depth` behind the row's end, or as many as there are, with the row's temperature and
 * truncation. Places that are as deep share their random numbers: of those that have different parents, one at most is verified.
 */
export function drawWithoutReplacement(
  { row, state }: ProposalRequest,
  logits: Logits,
  { depth, count }: { readonly depth: number; readonly count: number },
): DrawnCandidate[] {
  const uniforms = positionUniforms(row, state.generated.length + depth, count);
  const { temperature, topK, topP, minP } = row;
  const settings = { temperature, topK, topP, minP, repetitionPenalty: 1 };
  const drawn: DrawnCandidate[] = [];
  let distribution: TokenDistribution | undefined = distributionOf(() =>
    tokenDistribution(logits, settings, new TokenHistory([])),
  );
  for (let i = 0; i < count && distribution; i++) {
    const token: number = tokenAt(distribution, uniforms.draw(i));
    drawn.push({ token, distribution });
    distribution = without(distribution, token);
  }
  return drawn;
}

/** Undefined where there is nothing to propose: the numbers are not finite. */
function distributionOf(make: () => TokenDistribution): TokenDistribution | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

/** The distribution given that it is another token; undefined where there is none. */
function without({ tokens, probabilities }: TokenDistribution, token: number): TokenDistribution | undefined {
  const total = probabilities.reduce((sum, p, i) => (tokens[i] === token ? sum : sum + p), 0);
  if (!(total > 0)) return undefined;
  return { tokens, probabilities: probabilities.map((p, i) => (tokens[i] === token ? 0 : p / total)) };
}

/** A tree without the tokens that could not be drawn, and what follows them. */
export function prune(
  nodes: readonly { readonly parent: number; readonly drawn: DrawnCandidate | undefined }[],
): Required<Pick<Proposal, 'tokens' | 'parents' | 'distributions'>> {
  const places = new Map([[-1, -1]]);
  const kept = nodes.flatMap(({ parent, drawn }, i) => {
    const place = places.get(parent);
    if (!drawn || place === undefined) return [];
    places.set(i, places.size - 1);
    return [{ ...drawn, parent: place }];
  });
  return {
    tokens: kept.map(({ token }) => token),
    parents: kept.map(({ parent }) => parent),
    distributions: kept.map(({ distribution }) => distribution),
  };
}
