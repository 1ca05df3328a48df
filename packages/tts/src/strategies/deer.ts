import { type Given, integer, listOf, number, text } from '@posttrain/interfaces';
import { mean } from '../numbers.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { logProbsOf } from '../token-reports.js';
import { finishVoteOrFirst } from '../voting.js';

const deerOptions = strategyOptions('deer', {
  /** Most tokens of thinking, trial answers not counted. */
  maxThinkingTokens: integer({ min: 1 }),
  /** λ: thinking ends when a trial answer is surer than this. Default 0.95, as in the paper; at 1 it never does. */
  threshold: number({ default: 0.95, min: 0, max: 1 }),
  /** What a model turns to another thought with. Default `['Wait']`. */
  transitions: listOf(text({}), { default: ['Wait'] }),
  /** What makes it answer on trial. Default `\n**Final Answer**\n\\boxed{`. */
  answerInducer: text({ default: '\n**Final Answer**\n\\boxed{' }),
  /** What ends a trial answer. Default `['}']`. */
  trialEnd: listOf(text({}), { default: ['}'] }),
  /** Most tokens of a trial answer. Default 20. */
  trialTokens: integer({ default: 20, min: 1 }),
  /** What ends thinking. Default `</think>`. */
  thinkingEnd: text({ default: '</think>' }),
  /** What follows it, before the answer. Default `\n`. */
  answerPrefix: text({ default: '\n' }),
  /** Most tokens of the answer. Default: `sampling.maxTokens`. */
  answerTokens: integer({ optional: true, min: 1 }),
});
/** Options of `deer`. `n` is the number of chains. */
export type DeerOptions = Given<typeof deerOptions>;

/**
 * Dynamic early exit in reasoning (DEER, arXiv 2504.15895 §3), over any generator that continues a prefix: where a thought would turn to another
 * ("Wait"), the model answers on trial, greedily, and thinking ends there when it is sure of the tokens a_1 … a_k of that answer,
 *
 *   (Π_i p(a_i))^(1/k) > λ
 *
 * Else the trial is forgotten, and thinking goes on with the transition. It also ends where the model ends it, and at `maxThinkingTokens`. The trial's
 * confidence is in the payload of what it was tried on. With λ = 1 it is thinking as it would be, plus the trials.
 *
 * The authors' code has both this mean and the arithmetic one, which it takes by default, and leaves out the first token, as its prompt for the trial
 * ends before the brace.
 *
 * With n > 1 chains the answer is their majority. Needs a generator with log-probabilities that says which stop string ended a completion; throws
 * `ContractError` for others. A chain that the budget does not let answer is left out. Throws `NoCandidateError` when none answers.
 */
export async function deer(problem: Problem, options: DeerOptions): Promise<SearchResult> {
  const settings = deerOptions.read(options);
  const { n, maxThinkingTokens, threshold, transitions, thinkingEnd, answerPrefix, answerTokens } = settings;
  const { answerInducer, trialEnd, trialTokens } = settings;
  const search = new Search(deerOptions, problem, options);
  const ends = [...transitions, thinkingEnd];
  /** What was thought, without what ended it. */
  const thoughtOf = ({ text: own, state }: SearchNode): string => {
    const end = state === 'open' ? ends.find((it) => own.endsWith(it)) : undefined;
    return end === undefined ? own : own.slice(0, -end.length);
  };
  /** How sure the model is of an answer at the end of this thought; undefined where the budget allows none. */
  const confidenceAt = async (thought: SearchNode): Promise<number | undefined> => {
    const asked = search.merge([thought], { operation: 'trial' }, `${thoughtOf(thought)}${answerInducer}`);
    const draw = { n: 1, stop: trialEnd, maxTokens: trialTokens, logProbs: true, sampling: { temperature: 0 } };
    const [trial] = await search.expand(asked, draw);
    if (!trial) return undefined;
    trial.node.reason ??= 'a trial answer';
    const logProbs = logProbsOf(deerOptions.where, trial);
    return logProbs.length === 0 ? 0 : Math.exp(mean(logProbs));
  };
  const chain = async (first: SearchNode): Promise<SearchNode[]> => {
    let last = first;
    let tokens = first.node.completionTokens;
    while (last.state === 'open' && !last.text.endsWith(thinkingEnd) && tokens < maxThinkingTokens) {
      const confidence = await confidenceAt(last);
      if (confidence === undefined) return [];
      last.payload = { confidence };
      if (confidence > threshold) break;
      const [more] = await search.expand(last, { n: 1, stop: ends, maxTokens: maxThinkingTokens - tokens });
      if (!more) return [];
      tokens += more.node.completionTokens;
      last = more;
    }
    const closed = search.merge([last], { thinkingTokens: tokens }, `${thoughtOf(last)}${thinkingEnd}${answerPrefix}`);
    return search.expand(closed, { n: 1, ...(answerTokens !== undefined && { maxTokens: answerTokens }) });
  };
  const begun = await search.expand(search.root, { n, stop: ends, maxTokens: maxThinkingTokens });
  const answers = await Promise.all(begun.map(chain));
  return finishVoteOrFirst(search, answers.flat(), 'no chain has answered.');
}
