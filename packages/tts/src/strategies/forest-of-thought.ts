import { type Given, integer, number, type Prompt } from '@posttrain/interfaces';
import { optionalPrompt } from '../function-option.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { findAnswers } from '../solution.js';
import { bestOf } from '../step-score.js';
import { breadthFirst } from '../thought-orders.js';
import { Thoughts, thoughtSettings, thoughtShape, thoughtValue } from '../thoughts.js';
import { countVotes, withAnswer } from '../voting.js';

const forestOptions = strategyOptions('forest-of-thought', {
  ...thoughtShape,
  /** The expert, which is asked where no answer has a majority of the trees. */
  verifier: verifierOption,
  /** Trees of the forest. Default 4. */
  trees: integer({ default: 4, min: 1 }),
  /** Sparse activation: a tree whose best solution has a value below this gives no answer. Default: all do. */
  activation: number({ optional: true }),
  /** Dynamic self-correction: a thought whose value is below this is corrected once. Needs `correctPrompt`. Default: none is. */
  correction: number({ optional: true }),
  /** The prompt that corrects the last thought of a state; what is written stands in the place of the whole state. */
  correctPrompt: optionalPrompt<(thoughts: string) => Prompt>('thoughts'),
});
/** Options of `forestOfThought`. `n` is k, the thoughts that are generated from each state. */
export type ForestOfThoughtOptions = Given<typeof forestOptions>;

/**
 * Forest of Thought (arXiv 2412.09078): several trees of thoughts, of which only those count that are sure of themselves, with thoughts
 * corrected while a tree grows, and a decision that needs a consensus.
 *
 * - sparse activation: tree i gives its best solution S_i where V(S_i) ≥ `activation`;
 * - dynamic self-correction: a state with V(s) < `correction` is rewritten and valued again, and the better of both goes on;
 * - consensus-guided expert decision: the answer of more than half of all trees; where there is none, the solution that the expert
 *   scores highest.
 *
 * Trees are searched one after the other, and no further tree is begun once more than half of them agree. One tree without correction
 * is Tree of Thoughts (BFS). Ties go to the earlier tree. Throws `NoCandidateError` when no active tree has an answer.
 */
export async function forestOfThought(problem: Problem, options: ForestOfThoughtOptions): Promise<SearchResult> {
  const read = forestOptions.read(options);
  const { trees, steps, breadth, evaluation, correctPrompt } = read;
  const { activation = Number.NEGATIVE_INFINITY, correction = Number.NEGATIVE_INFINITY } = read;
  const search = new Search(forestOptions, problem, options);
  const thoughts = new Thoughts(search, thoughtSettings(forestOptions.where, read, options.generators));

  const corrected = async (states: readonly SearchNode[]): Promise<readonly SearchNode[]> => {
    if (!correctPrompt) return states;
    const better = await Promise.all(
      states.map(async (state): Promise<SearchNode | undefined> => {
        if ((thoughtValue(state) ?? Number.POSITIVE_INFINITY) >= correction) return undefined;
        const [written] = await search.expand(state, { n: 1, prompt: correctPrompt(state.text) });
        if (!written) return undefined;
        // A thought goes on from where it ended; one that has ended the text is still a solution.
        if (state.state !== 'open') return written;
        return search.merge([written], { operation: 'correct' }, written.text);
      }),
    );
    await thoughts.evaluate(better.filter((state) => state !== undefined));
    return states.map((state, i) => {
      const written = better[i];
      if (!written) return state;
      const isBetter = (thoughtValue(written) ?? Number.NEGATIVE_INFINITY) > thoughtValue(state)!;
      (isBetter ? state : written).node.reason = isBetter ? 'corrected' : 'no better for its correction';
      return isBetter ? written : state;
    });
  };

  const solutions: SearchNode[] = [];
  const hasConsensus = () => {
    const [first] = countVotes(withAnswer(solutions), () => 1);
    return first !== undefined && first.vote.count * 2 > trees;
  };
  for (let tree = 0; tree < trees && !hasConsensus() && search.exhausted === null; tree++) {
    const root = trees === 1 ? search.root : search.merge([search.root], { tree });
    const compares = evaluation.method === 'vote';
    const found = await breadthFirst(thoughts, root, { steps, breadth, compares, afterStep: corrected });
    const best = bestOf(found, thoughtValue);
    if (!best) continue;
    findAnswers([best], options.extractAnswer);
    if (thoughtValue(best)! >= activation) solutions.push(best);
    else best.node.reason = `not active: value below ${activation}`;
  }
  const ballots = countVotes(withAnswer(solutions), () => 1);
  const [winner] = ballots;
  if (!winner) throw search.nothing(`none of ${solutions.length} active trees has an answer.`);
  const votes = ballots.map(({ vote }) => vote);
  if (hasConsensus()) {
    const support = winner.supporters as readonly SearchNode[];
    return search.finish(bestOf(support, thoughtValue)!, { support, votes, reason: 'outvoted' });
  }
  const before = new Map(solutions.map((solution) => [solution, thoughtValue(solution)]));
  for (const [solution, value] of before) {
    solution.payload = { value };
    delete solution.node.score;
  }
  await search.verify(solutions);
  // Where the budget has no more room for the expert, the trees' own values decide.
  const expert = bestOf(solutions, thoughtValue) ?? bestOf(solutions, (solution) => before.get(solution) ?? null);
  return search.finish(expert!, { votes, reason: 'the expert chose another' });
}
