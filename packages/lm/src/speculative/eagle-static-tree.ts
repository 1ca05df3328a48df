import { mostLikelyTokens } from '../sampling/report-token.js';
import type { Logits } from '../sampling/sampler.js';
import type { EagleDraft, MakeEagleDraft } from './eagle-draft.js';
import type { Proposal, ProposalRequest } from './proposer.js';
import type { TokenDistribution } from './token-distribution.js';
import { drawWithoutReplacement, type TreeNode } from './token-tree.js';

/**
 * The tree of EAGLE (arXiv 2401.15077 §4.1), whose shape is the same for every text: a token of it is the one of some rank that the head
 * gives behind the tokens before it on its path. `top`: the likeliest ones; nothing is drawn. `sampled`: drawn without replacement from
 * the head with the row's temperature and truncation, to be verified one after the other.
 */
export const eagleStaticTree =
  (tree: readonly TreeNode[], candidates: 'top' | 'sampled'): MakeEagleDraft =>
  (request, most) =>
    new StaticTree(
      tree.filter(({ depth }) => depth < most),
      candidates === 'sampled' && request.row.temperature !== 0 ? request : undefined,
    );

class StaticTree implements EagleDraft {
  readonly tokens: number[] = [];
  readonly parents: number[] = [];
  readonly #tree: readonly TreeNode[];
  /** Whose settings tokens are drawn with; undefined for the likeliest. */
  readonly #request: ProposalRequest | undefined;
  readonly #distributions: TokenDistribution[] = [];
  /** Where tokens of the shape are in what is drafted; −1 is the row's end. */
  readonly #places = new Map([[-1, -1]]);
  /** Tokens of the shape that were asked about. */
  #asked: readonly number[] = [-1];
  #depth = 0;

  constructor(tree: readonly TreeNode[], request: ProposalRequest | undefined) {
    this.#tree = tree;
    this.#request = request;
  }

  next(logits: readonly Logits[]): readonly number[] {
    const depth = this.#depth++;
    const drawn = new Map(this.#asked.map((at, i) => [at, this.#candidates(at, depth, logits[i]!)]));
    const nodes = this.#tree.flatMap((node, i) => {
      const candidate = drawn.get(node.parent)?.[node.rank];
      return node.depth === depth && candidate ? [{ i, parent: node.parent, ...candidate }] : [];
    });
    for (const { i, parent, token, distribution } of nodes) {
      this.#places.set(i, this.tokens.length);
      this.tokens.push(token);
      this.parents.push(this.#places.get(parent)!);
      if (distribution) this.#distributions.push(distribution);
    }
    const goesOn = new Set(this.#tree.map(({ parent }) => parent));
    this.#asked = nodes.flatMap(({ i }) => (goesOn.has(i) ? [i] : []));
    return this.#asked.map((i) => this.#places.get(i)!);
  }

  get proposal(): Proposal {
    const { tokens, parents } = this;
    return this.#request ? { tokens, parents, distributions: this.#distributions } : { tokens, parents };
  }

  /** As many as the children of a token of the shape need, or there are. */
  #candidates(
    at: number,
    depth: number,
    logits: Logits,
  ): { readonly token: number; readonly distribution?: TokenDistribution }[] {
    const count = this.#tree.reduce((most, { parent, rank }) => (parent === at ? Math.max(most, rank + 1) : most), 0);
    if (this.#request) return drawWithoutReplacement(this.#request, logits, { depth, count });
    return mostLikelyTokens(logits, count).map((token) => ({ token }));
  }
}
