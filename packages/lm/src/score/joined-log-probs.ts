import type { SequenceLogProbs } from './token-log-probs.js';

/** What consecutive parts of a sequence have, `skipped` places of each left out, as one. */
export function joinedLogProbs(parts: readonly SequenceLogProbs[], skipped: readonly number[] = []): SequenceLogProbs {
  const join = (column: (part: SequenceLogProbs) => Float32Array) =>
    Float32Array.from(parts.flatMap((part, i) => [...column(part).subarray(skipped[i] ?? 0)]));
  const [first] = parts;
  return {
    logProbs: join(({ logProbs }) => logProbs),
    entropies: join(({ entropies }) => entropies),
    isGreedy: join(({ isGreedy }) => isGreedy),
    ...(first?.ranks && { ranks: join(({ ranks }) => ranks!) }),
    ...(first?.moments && {
      moments: { means: join(({ moments }) => moments!.means), deviations: join(({ moments }) => moments!.deviations) },
    }),
    ...(first?.topLogProbs && {
      topLogProbs: parts.flatMap(({ topLogProbs }, i) => topLogProbs!.slice(skipped[i] ?? 0)),
    }),
  };
}
