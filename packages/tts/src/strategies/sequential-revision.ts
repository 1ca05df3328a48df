import { type Given, integer } from '@posttrain/interfaces';
import { InvalidArgumentError } from '../errors.js';
import { numbered, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { countVotes, finishVote, withAnswer } from '../voting.js';
import { assertWeight } from './weighted-best-of-n.js';

const sequentialRevisionOptions = strategyOptions('sequential-revision', {
  verifier: verifierOption,
  /** Chains side by side: `n` of them is parallel sampling alone, 1 is revision alone. `n` is a multiple of it. Default 1. */
  chains: integer({ default: 1, min: 1 }),
  /** Attempts before it that a revision is shown, the last ones. Default 4. */
  memory: integer({ default: 4, min: 1 }),
  /** What is asked for the next attempt. */
  revisePrompt: promptOption(
    'a question and the attempts so far',
    (question: string, attempts: readonly string[]) =>
      `${question}\n\n${numbered('Attempt', attempts)}\n\nThe attempts may be wrong. Write a better one, which ends with the answer.`,
  ),
});
/** Options of `sequentialRevision`. `n` is the completions of all chains together: `n` = chains × length. */
export type SequentialRevisionOptions = Given<typeof sequentialRevisionOptions>;

/**
 * Sequential revisions, and their ratio to parallel samples (arXiv 2408.03314 §6): `chains` chains of n / chains attempts each,
 *
 *   y_{c,1} ~ π(· | x),   y_{c,t} ~ π(· | x, y_{c,t−m} … y_{c,t−1})
 *
 * and the choice goes by the verifier twice (§6.1): in each chain the answer with the largest sum of scores and its best attempt, and among the chains'
 * attempts again the answer with the largest sum. One chain, or chains of one, are weighted best-of-N. For equal budgets the ratio of sequential to
 * parallel is (n / chains) : chains.
 *
 * What is not scorable (`null`), was not verified or has no answer does not vote; ties go to what was drawn first. Throws `NoCandidateError` when none
 * votes, `InvalidArgumentError` for negative scores and for an `n` that is no multiple.
 */
export async function sequentialRevision(problem: Problem, options: SequentialRevisionOptions): Promise<SearchResult> {
  const { n, chains, memory, revisePrompt, verifier } = sequentialRevisionOptions.read(options);
  const search = new Search(sequentialRevisionOptions, problem, options);
  if (n % chains !== 0) {
    const { where } = sequentialRevisionOptions;
    throw new InvalidArgumentError(`${where}: n must be a multiple of chains (${chains}), got ${n}.`);
  }
  const question = questionOf(problem.prompt);
  let growing = (await search.expand(search.root, { n: chains })).map((first): SearchNode[] => [first]);
  const whole = [...growing];
  for (let t = 2; t <= n / chains; t++) {
    const grown = await Promise.all(
      growing.map(async (chain) => {
        const attempts = chain.slice(-memory).map(({ text }) => text);
        const prompt = withQuestion(problem.prompt, revisePrompt(question, attempts));
        const [next] = await search.expand(chain.at(-1)!, { n: 1, prompt });
        if (next) chain.push(next);
        return next ? [chain] : [];
      }),
    );
    growing = grown.flat();
  }
  await search.verify(whole.flat());
  const weight = ({ score }: SearchNode): number => score!;
  const best = (nodes: readonly SearchNode[]) => nodes.reduce((a, b) => (weight(b) > weight(a) ? b : a));
  const chosen = whole.flatMap((chain) => {
    const voters = withAnswer(chain).filter(({ score }) => typeof score === 'number');
    for (const node of voters) assertWeight(`verifier "${verifier.name}"`, weight(node));
    const [winner] = countVotes(voters, weight);
    const kept = winner && best(winner.supporters);
    for (const voter of voters) if (voter !== kept) voter.node.reason = 'not the best of its chain';
    return kept ?? [];
  });
  return finishVote(search, chosen, { none: 'no attempt has both an answer and a score.', weight, best });
}
