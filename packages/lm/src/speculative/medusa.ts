import { type Compiled, compile, stack, type Tensor, tensor, withEngine } from '@posttrain/core-tensor';
import { custom, type Given, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '../model/causal-lm.js';
import type { Weights } from '../model/layers.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { mostLikelyTokens } from '../sampling/report-token.js';
import { type Logits, tokenDistribution } from '../sampling/sampler.js';
import { TokenHistory } from '../sampling/token-history.js';
import { MedusaHeads, medusaHead } from './medusa-heads.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer } from './proposer.js';
import { type TokenDistribution, tokenAt } from './token-distribution.js';
import type { Acceptance } from './typical-acceptance.js';
import { positionUniforms } from './verify-proposal.js';

const isPaths = (value: unknown): boolean => Array.isArray(value) && value.every((path) => Array.isArray(path));

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

/** A token of the tree. */
interface Node {
  /** Which head it is of, from 0. */
  readonly depth: number;
  readonly rank: number;
  /** Its place in the tree's list; −1: it may come next. */
  readonly parent: number;
}

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

/** The tree of some paths: parents before children, ranks rising among siblings. @throws PosttrainError */
function treeOf(choices: readonly (readonly number[])[], heads: number, vocabSize: number): Node[] {
  const fail = (problem: string): never => {
    throw new PosttrainError('SPECULATIVE', `speculative: choices ${problem}`);
  };
  const paths = [...choices].sort((a, b) => a.length - b.length || compare(a, b));
  const places = new Map(paths.map((path, i) => [path.join(), i]));
  if (places.size < paths.length || paths.length === 0) fail('must be one path or more, each once');
  return paths.map((path) => {
    const shown = JSON.stringify(path);
    if (path.length === 0 || path.length > heads) fail(`has ${shown}; a path has 1 to ${heads} ranks, one a head`);
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

/** Medusa (arXiv 2401.10774): heads on the state that a row's last token was drawn from propose a tree of what follows it. */
export class Medusa implements Proposer {
  readonly needsHidden = true;
  readonly isExact: boolean;
  readonly #acceptance: Acceptance | undefined;
  readonly #heads: MedusaHeads;
  readonly #tree: readonly Node[];
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
    this.#tree = treeOf(choices ?? defaultChoices(numHeads), numHeads, model.network.config.vocabSize);
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
    const drawn = rows.map((logits, depth) => drawWithoutReplacement(request, logits, depth, this.#widths[depth]!));
    return prune(nodes.map(({ depth, rank, parent }) => ({ parent, drawn: drawn[depth]![rank] })));
  }
}

interface DrawnCandidate {
  readonly token: number;
  readonly distribution: TokenDistribution;
}

/** So many tokens of a head, or as many as there are, and what each was drawn from. */
function drawWithoutReplacement(
  { row, state }: ProposalRequest,
  logits: Logits,
  depth: number,
  count: number,
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

/** Undefined where a head has nothing to propose: its numbers are not finite. */
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
function prune(nodes: readonly { readonly parent: number; readonly drawn: DrawnCandidate | undefined }[]): Proposal {
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
