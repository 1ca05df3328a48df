import { bestOfK, majorityOfK } from '@posttrain/interfaces/estimators';

/**
 * Accuracy of a strategy given k of the N samples of one problem, exactly, over all ordered draws without replacement.
 * Samples are exchangeable, so whatever "the first drawn" decides is decided uniformly among the tied. The closed forms
 * are those of `@posttrain/interfaces/estimators`, which `eval`'s metrics use too.
 */

/** One drawn sample: what it answers, whether it is right and what the verifier gave it. */
export interface LabelledSample {
  /** Normalised answer; `null` when none was found. */
  readonly answer: string | null;
  readonly correct: boolean;
  /** `null`: not scorable. Absent: never verified. */
  readonly score?: number | null;
}

/** Accuracy of best-of-k over all k-subsets; a subset with no score at all counts as wrong. */
export function bestOfKAccuracy(samples: readonly LabelledSample[], k: number): number {
  return bestOfK(
    samples.map(({ correct, score }) => ({ value: Number(correct), rank: score ?? null })),
    k,
  );
}

/** Accuracy of the majority vote over all k-subsets, for every k of `ks`; samples without an answer abstain. */
export function majorityAccuracies(samples: readonly LabelledSample[], ks: readonly number[]): number[] {
  const groups = new Map<string, { size: number; right: number }>();
  let abstentions = 0;
  for (const { answer, correct } of samples) {
    if (answer === null) {
      abstentions++;
      continue;
    }
    const group = groups.get(answer) ?? { size: 0, right: 0 };
    groups.set(answer, { size: group.size + 1, right: group.right + Number(correct) });
  }
  return majorityOfK(
    [...groups.values()].map(({ size, right }) => ({ size, value: right / size })),
    abstentions,
    ks,
  );
}

/** Accuracy on the subset made of the first k entries of `order`, over all orders of that subset. */
export type SubsetAccuracy = (order: ArrayLike<number>, k: number) => number;

/**
 * Accuracy of weighted best-of-N on single subsets: an answer tied for the largest sum appears first with probability
 * proportional to its votes, and its completion is one of its highest scored.
 */
export function weightedSubsetAccuracy(samples: readonly LabelledSample[]): SubsetAccuracy {
  const index = new Map<string, number>();
  const group = Int32Array.from(samples, ({ answer, score }) => {
    if (answer === null || typeof score !== 'number') return -1;
    if (!index.has(answer)) index.set(answer, index.size);
    return index.get(answer)!;
  });
  const scores = Float64Array.from(samples, ({ score }) => score ?? 0);
  const correct = Uint8Array.from(samples, (sample) => Number(sample.correct));
  const sum = new Float64Array(index.size);
  const votes = new Int32Array(index.size);
  const best = new Float64Array(index.size);
  const bestVotes = new Int32Array(index.size);
  const bestCorrect = new Int32Array(index.size);
  return (order, k) => {
    sum.fill(0);
    votes.fill(0);
    for (let i = 0; i < k; i++) {
      const sample = order[i]!;
      const answer = group[sample]!;
      if (answer < 0) continue;
      const score = scores[sample]!;
      sum[answer]! += score;
      if (votes[answer]!++ === 0 || score > best[answer]!) {
        best[answer] = score;
        bestVotes[answer] = 0;
        bestCorrect[answer] = 0;
      }
      if (score === best[answer]) {
        bestVotes[answer]!++;
        bestCorrect[answer]! += correct[sample]!;
      }
    }
    let most = Number.NEGATIVE_INFINITY;
    let tiedVotes = 0;
    let accuracy = 0;
    for (let answer = 0; answer < sum.length; answer++) {
      if (votes[answer] === 0 || sum[answer]! < most) continue;
      if (sum[answer]! > most) {
        most = sum[answer]!;
        tiedVotes = 0;
        accuracy = 0;
      }
      tiedVotes += votes[answer]!;
      accuracy += (votes[answer]! * bestCorrect[answer]!) / bestVotes[answer]!;
    }
    return tiedVotes === 0 ? 0 : accuracy / tiedVotes;
  };
}

/** Calls `visit` with every k-subset of 0 … n−1; the array is reused. */
export function forEachSubset(n: number, k: number, visit: (subset: readonly number[]) => void): void {
  const subset = Array.from({ length: k }, (_, i) => i);
  for (;;) {
    visit(subset);
    let i = k - 1;
    while (i >= 0 && subset[i] === n - k + i) i--;
    if (i < 0) return;
    subset[i]!++;
    for (let j = i + 1; j < k; j++) subset[j] = subset[j - 1]! + 1;
  }
}
