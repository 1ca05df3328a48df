import { type Compiled, compile, stack, type Tensor, tensor, withEngine } from '@posttrain/core-tensor';
import { custom, type Given, oneOf, options } from '@posttrain/interfaces';
import type { CausalLM } from '../model/causal-lm.js';
import type { Weights } from '../model/layers.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { mostLikelyTokens } from '../sampling/report-token.js';
import type { Logits } from '../sampling/sampler.js';
import { MedusaHeads, medusaHead } from './medusa-heads.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer } from './proposer.js';
import { drawWithoutReplacement, isPaths, prune, type TreeNode, treeOf } from './token-tree.js';
import type { Acceptance } from './typical-acceptance.js';

const medusaOptions = options('speculative', {
  /** Trained for this model. */
  medusa: custom<MedusaHeads>()('MedusaHeads', (value) => value instanceof MedusaHeads, { settings: () => 'heads' }),
  /**
   * The tree (reference: `medusa_choices`): a path for each of its tokens, with the rank of each token on it among those of its
   * head, from 0. `[[0], [1], [0, 0]]`: the two likeliest of the first head, and the likeliest of the second behind the first.
   * Default: all paths whose ranks + 1 multiply to at most 3.
   */
  choices: custom<readonly (readonly number[])[]>()('a list of paths', isPaths, { optional: true }),
  /**
   * `top`: the likeliest tokens of each head; the row draws for itself, and gets what it would get without them. `sampled`: each
   * head's tokens are drawn, without replacement, with the row's temperature and truncation, and verified as SpecInfer does.
   * Greedy is `top`. Default `top`.
   */
  candidates: oneOf(['top', 'sampled'], { default: 'top' }),
  /**
   * Keeps candidates without verification: `typicalAcceptance()`, for instance, as the paper does. Not exact: then what is
   * generated has another distribution than the model's, unless it is greedy. Default: none.
   */
  acceptance: custom<Acceptance>()('a function of a distribution and a token', (value) => typeof value === 'function', {
    optional: true,
  }),
});
/** Speculative decoding with heads on the model's own hidden states (Medusa, arXiv 2401.10774). */
export type MedusaSpeculation = Given<typeof medusaOptions>;

/** All paths over so many heads whose ranks + 1 multiply to at most `most`. */
function defaultChoices(heads: number, most = 3): number[][] {
  const paths: number[][] = [];
  const grow = (path: readonly number[], product: number) => {
    if (path.length > 0) paths.push([...path]);
    if (path.length === heads) return;
    for (let rank = 0; product * (rank + 1) <= most; rank++) grow([...path, rank], product * (rank + 1));
  };
  grow([], 1);
  return paths;
}

/** Medusa (arXiv 2401.10774): heads on the state that a row's last token was drawn from propose a tree of what follows it. */
export class Medusa implements Proposer {
  readonly needsHidden = true;
  readonly isExact: boolean;
  readonly #acceptance: Acceptance | undefined;
  readonly #heads: MedusaHeads;
  readonly #tree: readonly TreeNode[];
  readonly #candidates: 'top' | 'sampled';
  readonly #logits: Compiled<[weights: Weights, hidden: Tensor], Tensor>;
  /** Candidates that are asked of each head. */
  readonly #widths: readonly number[];

  /** @throws OptionError, and PosttrainError for heads that do not fit the model, and choices that are no tree */
  constructor(model: CausalLM, given: MedusaSpeculation) {
    const { medusa: heads, choices, candidates, acceptance } = medusaOptions.read(given);
    this.#acceptance = acceptance;
    this.isExact = acceptance === undefined;
    heads.checkFits(model);
    const { numHeads, numLayers } = heads;
    this.#heads = heads;
    this.#candidates = candidates;
    const { vocabSize } = model.network.config;
    this.#tree = treeOf(choices ?? defaultChoices(numHeads), { heads: numHeads, vocabSize });
    this.#widths = Array.from({ length: numHeads }, (_, depth) =>
      this.#tree.reduce((most, node) => (node.depth === depth ? Math.max(most, node.rank + 1) : most), 0),
    );
    const depths = this.#widths.filter((width) => width > 0).length;
    this.#logits = withEngine(model.engine, () =>
      compile(
        (weights: Weights, hidden: Tensor) =>
          stack(
            Array.from({ length: depths }, (_, head) => {
              const { hidden: x, output } = medusaHead(weights, hidden, { head, numLayers });
              return x.matmul(output, { transposeB: true });
            }),
          ),
        { name: 'medusa' },
      ),
    );
  }

  async propose(requests: readonly ProposalRequest[]): Promise<Proposal[]> {
    const able = requests.filter(({ hidden, most }) => hidden && most > 0);
    if (able.length === 0) return requests.map(() => NO_PROPOSAL);
    const [count, width] = [roundUpToPowerOfTwo(able.length), able[0]!.hidden!.length];
    const hidden = new Float32Array(count * width);
    for (const [i, request] of able.entries()) hidden.set(request.hidden!, i * width);
    const logits = await this.#logits(this.#heads.weights, tensor(hidden, [count, width]));
    const [depths, , vocabulary] = logits.shape as [number, number, number];
    const numbers = (await logits.data()) as Logits;
    const proposals = new Map(
      able.map((request, i): [ProposalRequest, Proposal] => {
        const rows = Array.from({ length: Math.min(depths, request.most) }, (_, depth) => {
          const from = (depth * count + i) * vocabulary;
          return numbers.subarray(from, from + vocabulary);
        });
        const accepts = this.#acceptance && { accepts: this.#acceptance };
        return [request, { ...this.#proposal(request, rows), ...accepts }];
      }),
    );
    return requests.map((request) => proposals.get(request) ?? NO_PROPOSAL);
  }

  release(): void {}

  close(): void {}

  #proposal(request: ProposalRequest, rows: readonly Logits[]): Proposal {
    // Those of heads that are not asked come last.
    const nodes = this.#tree.filter(({ depth }) => depth < rows.length);
    const parents = nodes.map(({ parent }) => parent);
    if (this.#candidates === 'top' || request.row.temperature === 0) {
      const best = rows.map((logits, depth) => mostLikelyTokens(logits, this.#widths[depth]!));
      return { tokens: nodes.map(({ depth, rank }) => best[depth]![rank]!), parents };
    }
    const drawn = rows.map((logits, depth) =>
      drawWithoutReplacement(request, logits, { depth, count: this.#widths[depth]! }),
    );
    return prune(nodes.map(({ depth, rank, parent }) => ({ parent, drawn: drawn[depth]![rank] })));
  }
}
