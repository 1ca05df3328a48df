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

/** A reasoning path that the validator has found invalid. */
export interface RejectedThoughts {
  readonly text: string;
  /** What the validator said of it. */
  readonly explanation?: string | undefined;
}

const multiAgentOptions = strategyOptions('multi-agent-tree-of-thoughts', {
  ...thoughtShape,
  /** The validator: whether the path of an agent holds. */
  verifier: verifierOption,
  /** Agents, each with a tree of its own. Default 3. */
  agents: integer({ default: 3, min: 1 }),
  /** A path is valid whose score is at least this. Default 0.5. */
  validity: number({ default: 0.5 }),
  /** Rounds at most; another one begins where no answer has most votes. Default 2. */
  rounds: integer({ default: 2, min: 1 }),
  /** Valid paths of one round whose answer ends the search when they agree, as in the authors' code with 2. Default: most votes so far end it. */
  agreement: integer({ optional: true, min: 1 }),
  /** The prompt of a further round, of what was rejected. Default: the problem's. Not with `proposePrompt`, which makes its own. */
  feedbackPrompt: optionalPrompt<(rejected: readonly RejectedThoughts[]) => Prompt>('rejected thoughts'),
});
/** Options of `multiAgentTreeOfThoughts`. `n` is k, the thoughts that are generated from each state. */
export type MultiAgentTreeOfThoughtsOptions = Given<typeof multiAgentOptions>;

/**
 * Multi-agent Tree of Thoughts with a validator (arXiv 2409.11527): agents R_1 … R_m search a tree each (breadth-first, by their own
 * values) and hand in their best path S_i; the validator says v_i ∈ {0, 1}; and the answer is the majority's among valid paths,
 *
 *   argmax_a Σ_i v_i 1[answer(S_i) = a]
 *
 * so an agent whose path does not hold has no vote, however it values itself. Without a valid answer, or with a tie, there is another
 * round with new trees; votes of all rounds count. A tie at the end goes to the answer that appeared first. With `agreement` a round whose valid
 * paths do not agree is followed by another, and an agreement is the answer whatever the rounds before have said. Throws `NoCandidateError` when no path
 * is valid, where the authors' code takes the majority of all.
 */
export async function multiAgentTreeOfThoughts(
  problem: Problem,
  options: MultiAgentTreeOfThoughtsOptions,
): Promise<SearchResult> {
  const read = multiAgentOptions.read(options);
  const { agents, validity, rounds, agreement, feedbackPrompt, steps, breadth, evaluation } = read;
  const search = new Search(multiAgentOptions, problem, options);
  const settings = thoughtSettings(multiAgentOptions.where, read, options.generators);
  const valid: SearchNode[] = [];
  const rejected: RejectedThoughts[] = [];
  let agreed: string | undefined;
  for (let round = 1; round <= rounds; round++) {
    const prompt = round > 1 ? feedbackPrompt?.(rejected) : undefined;
    const thoughts = new Thoughts(search, { ...settings, prompt });
    const found = await Promise.all(
      Array.from({ length: agents }, (_, agent) => {
        const root = search.merge([search.root], { agent, round });
        return breadthFirst(thoughts, root, { steps, breadth, compares: evaluation.method === 'vote' });
      }),
    );
    const paths = found.flatMap((solutions) => bestOf(solutions, thoughtValue) ?? []);
    // The agents' own values are in the payload: a score is the validator's from here on.
    for (const path of paths) {
      path.payload = { value: path.score };
      delete path.node.score;
    }
    findAnswers(paths, options.extractAnswer);
    await search.verify(paths);
    const before = valid.length;
    for (const path of paths) {
      if ((path.score ?? Number.NEGATIVE_INFINITY) >= validity) valid.push(path);
      else {
        path.node.reason ??= 'not valid';
        rejected.push({ text: path.text, explanation: path.node.explanation });
      }
    }
    const voting = agreement === undefined ? valid : valid.slice(before);
    const [first, second] = countVotes(withAnswer(voting), () => 1);
    const isClear = first !== undefined && first.vote.weight > (second?.vote.weight ?? 0);
    if (agreement !== undefined && isClear && first.vote.weight >= agreement) agreed = first.vote.answer;
    if (search.exhausted !== null || (agreement === undefined ? isClear : agreed !== undefined)) break;
  }
  const ballots = countVotes(withAnswer(valid), () => 1);
  const winner = ballots.find(({ vote }) => vote.answer === agreed) ?? ballots[0];
  if (!winner) throw search.nothing(`no path of ${agents} agents is valid and has an answer.`);
  const support = winner.supporters as readonly SearchNode[];
  return search.finish(support[0]!, { support, votes: ballots.map(({ vote }) => vote), reason: 'outvoted' });
}
