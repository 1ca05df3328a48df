import { type Given, integer, number } from '@posttrain/interfaces';
import { quantile } from '../numbers.js';
import { type Growing, growPieces, wholeTokens } from '../pieces.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { topLogProbsOf } from '../token-reports.js';
import { countVotes, finishVote } from '../voting.js';
import { deepConfShape, groupConfidences, tokenConfidences } from './deep-conf.js';

const deepConfOnlineOptions = strategyOptions('deep-conf-online', {
  ...deepConfShape,
  /** Traces that are drawn to their end first, and set the bar. Default 16. */
  warmup: integer({ default: 16, min: 1 }),
  /** η, the share of warm-up traces above the bar: 0.9 is DeepConf-high, 0.1 DeepConf-low. Default 0.9. */
  keep: number({ default: 0.9, above: 0, max: 1 }),
  /** τ, the share of all weight that the first answer must have for drawing to end. Default 0.95. */
  consensus: number({ default: 0.95, above: 0, max: 1 }),
  /** Traces that grow together after the warm-up; the consensus is looked at between. Default 8. */
  together: integer({ default: 8, min: 1 }),
  /** Tokens after which a trace is looked at. Default 256. */
  piece: integer({ default: 256, min: 1 }),
});
/** Options of `deepConfOnline`. `n` is the most traces, the warm-up among them; `sampling.maxTokens` is needed. */
export type DeepConfOnlineOptions = Given<typeof deepConfOnlineOptions>;

/**
 * Online DeepConf (arXiv 2508.15260 §3.3): traces that lose confidence are given up before their end.
 *
 * 1. draw `warmup` traces, each with the confidence C of its least confident group of `window` tokens; s = the (1 − η)-quantile of them;
 * 2. draw on, `together` at a time, in pieces; a trace is given up as soon as a whole group is below s;
 * 3. stop when the first answer has τ of the weight of all votes, or at `n` traces; return argmax_a Σ C.
 *
 * Traces below s do not vote, those of the warm-up too. The authors look at every token; here a trace is looked at after every piece, so
 * that it may run `piece` − 1 tokens too far, which changes what is spent and no vote. Needs `topLogProbs` of the generator.
 * Throws `ContractError` without, `NoCandidateError` when none votes.
 */
export async function deepConfOnline(problem: Problem, options: DeepConfOnlineOptions): Promise<SearchResult> {
  const settings = deepConfOnlineOptions.read(options);
  const { n, topK, window, warmup, keep, consensus, together, piece } = settings;
  const { where } = deepConfOnlineOptions;
  const search = new Search(deepConfOnlineOptions, problem, options);
  const maxTokens = wholeTokens(where, settings);
  const least = ({ pieces }: Growing): number => {
    const tokens = pieces.flatMap((it) => tokenConfidences(topLogProbsOf(where, it)));
    return Math.min(...groupConfidences(tokens, window));
  };
  /** Traces that came to their end at or above the bar. */
  const grow = async (count: number, size: number, bar: number): Promise<Growing[]> => {
    let growing: (Growing | SearchNode)[] = new Array<SearchNode>(count).fill(search.root);
    const whole: Growing[] = [];
    while (growing.length > 0) {
      const grown = await growPieces(search, growing, { size, maxTokens, topLogProbs: topK });
      growing = grown.filter((it) => {
        const isLow = (it.isWhole || it.tokens >= window) && least(it) < bar;
        if (isLow) it.node.node.reason = `group confidence below ${bar.toPrecision(4)}`;
        else if (it.isWhole) whole.push(it);
        return !it.isWhole && !isLow;
      });
    }
    return whole;
  };

  const first = await grow(Math.min(warmup, n), maxTokens, Number.NEGATIVE_INFINITY);
  if (first.length === 0) throw search.nothing('no trace has come to its end.');
  const bar = quantile(first.map(least), 1 - keep);
  const confidences = new Map<SearchNode, number>();
  const add = (traces: readonly Growing[]): void => {
    for (const trace of traces) {
      const confidence = least(trace);
      trace.node.payload = { confidence };
      if (confidence >= bar) confidences.set(trace.node, confidence);
      else trace.node.node.reason = `group confidence below ${bar.toPrecision(4)}`;
    }
  };
  add(first);
  const weight = (node: SearchNode): number => confidences.get(node)!;
  const isClear = (): boolean => {
    const ballots = countVotes(
      [...confidences.keys()].filter(({ answer }) => answer !== null),
      weight,
    );
    const total = ballots.reduce((sum, { vote }) => sum + vote.weight, 0);
    return ballots.length > 0 && ballots[0]!.vote.weight >= consensus * total;
  };
  for (let drawn = first.length; drawn < n && !isClear() && search.exhausted === null; ) {
    const count = Math.min(together, n - drawn);
    add(await grow(count, piece, bar));
    drawn += count;
  }
  return finishVote(search, [...confidences.keys()], { none: 'no trace above the bar has an answer.', weight });
}
