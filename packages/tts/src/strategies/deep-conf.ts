import { type Given, integer, number, oneOf, type TokenLogProb } from '@posttrain/interfaces';
import { mean, quantile } from '../numbers.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { topLogProbsOf } from '../token-reports.js';
import { finishVote, withAnswer } from '../voting.js';

/** How the confidences of a trace's tokens become one number. */
export type TraceConfidence = 'mean' | 'tail' | 'bottom-window' | 'min-window';
const TRACE_CONFIDENCES = ['mean', 'tail', 'bottom-window', 'min-window'] as const satisfies readonly TraceConfidence[];
/** The share of the least confident windows that `bottom-window` averages. */
const BOTTOM = 0.1;

export const deepConfShape = {
  /** k, the likeliest tokens of a place that its confidence is made of. Default 20. */
  topK: integer({ default: 20, min: 1 }),
  /** Tokens of a group, and of the tail. Default 2048. */
  window: integer({ default: 2048, min: 1 }),
};
const deepConfOptions = strategyOptions('deep-conf', {
  ...deepConfShape,
  /** What a trace's confidence is. Default `bottom-window`. */
  confidence: oneOf(TRACE_CONFIDENCES, { default: 'bottom-window' }),
  /** η, the share of the most confident traces that vote; 1 is all. Default 0.1. */
  keep: number({ default: 0.1, above: 0, max: 1 }),
});
/** Options of `deepConf`. */
export type DeepConfOptions = Given<typeof deepConfOptions>;

/** C_t = −(1/k) Σ_{j ≤ k} log p_t(j) of each place, over its k likeliest tokens: high where the model is sure. */
export const tokenConfidences = (topLogProbs: readonly (readonly TokenLogProb[])[]): number[] =>
  topLogProbs.map((top) => -mean(top.map(({ logProb }) => logProb)));

/** The mean of every window of so many tokens in a row; of fewer tokens, their mean. */
export function groupConfidences(confidences: readonly number[], window: number): number[] {
  if (confidences.length === 0) return [0];
  if (confidences.length < window) return [mean(confidences)];
  return Array.from({ length: confidences.length - window + 1 }, (_, i) => mean(confidences.slice(i, i + window)));
}

/** The confidence of a trace: the mean of its tokens, of the last `window`, of the lowest tenth of windows, or the lowest window. */
export function traceConfidence(confidences: readonly number[], kind: TraceConfidence, window: number): number {
  if (confidences.length === 0) return 0;
  if (kind === 'mean') return mean(confidences);
  if (kind === 'tail') return mean(confidences.slice(-window));
  const groups = groupConfidences(confidences, window).sort((a, b) => a - b);
  return kind === 'min-window' ? groups[0]! : mean(groups.slice(0, Math.max(1, Math.floor(groups.length * BOTTOM))));
}

/**
 * Offline DeepConf (arXiv 2508.15260 §3.2): draw y_1 … y_N; keep of those with an answer the η most confident (those at or above the
 * (1 − η)-quantile of confidences, with linear interpolation); and return
 *
 *   argmax_a Σ_{i kept: a_i = a} C(y_i)
 *
 * with C one of the paper's four measures over C_t = −(1/k) Σ log p of the k likeliest tokens (`traceConfidence`). Ties go to the answer that
 * appeared first, whose text is its most confident. Needs a generator with `topLogProbs`. Throws `ContractError` for others, and
 * `NoCandidateError` when none votes.
 */
export async function deepConf(problem: Problem, options: DeepConfOptions): Promise<SearchResult> {
  const { topK, window, confidence, keep } = deepConfOptions.read(options);
  const search = new Search(deepConfOptions, problem, options);
  const candidates = await search.draw({ topLogProbs: topK });
  const confidences = new Map(
    candidates.map((node) => {
      const tokens = tokenConfidences(topLogProbsOf(deepConfOptions.where, node));
      return [node, traceConfidence(tokens, confidence, window)];
    }),
  );
  for (const [node, value] of confidences) node.payload = { confidence: value };
  const voters = withAnswer(candidates);
  const bar = quantile(
    voters.map((node) => confidences.get(node)!),
    1 - keep,
  );
  const kept = voters.filter((node) => confidences.get(node)! >= bar);
  for (const { node } of voters.filter((it) => !kept.includes(it)))
    node.reason = `not among the ${keep} most confident`;
  return finishVote(search, kept, {
    none: `none of ${candidates.length} completions has an answer.`,
    weight: (node) => confidences.get(node)!,
    best: (supporters) => supporters.reduce((a, b) => (confidences.get(b)! > confidences.get(a)! ? b : a)),
  });
}
