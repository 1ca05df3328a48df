/**
 * Accuracy of a strategy given k of the N samples of one problem, exactly, over all ordered draws without replacement.
 * Samples are exchangeable, so whatever "the first drawn" decides is decided uniformly among the tied.
 */

/** One drawn sample: what it answers, whether it is right and what the verifier gave it. */
export interface LabelledSample {
  /** Normalised answer; `null` when none was found. */
  readonly answer: string | null;
  readonly correct: boolean;
  /** `null`: not scorable. Absent: never verified. */
  readonly score?: number | null;
}

/** Largest N for which all binomials stay finite in double precision. */
export const MOST_SAMPLES = 1000;

/** P(a k-subset of N misses `marked` given elements) = C(N − marked, k) / C(N, k). */
function missProbability(n: number, marked: number, k: number): number {
  let probability = 1;
  for (let i = 0; i < k; i++) probability *= Math.max(0, n - marked - i) / (n - i);
  return probability;
}

/** pass@k, unbiased: 1 − C(N − c, k) / C(N, k) with c of N samples correct (arXiv 2107.03374). */
export function passAtK(samples: readonly LabelledSample[], k: number): number {
  return 1 - missProbability(samples.length, samples.filter(({ correct }) => correct).length, k);
}

/**
 * Accuracy of best-of-k. With the samples in falling order of score, samples a+1 … a+m tied,
 *
 *   Σ_ties [C(N−a, k) − C(N−a−m, k)] / C(N, k) · (share of the m that is correct).
 *
 * A subset with no score at all counts as wrong.
 */
export function bestOfKAccuracy(samples: readonly LabelledSample[], k: number): number {
  const scored = samples.filter(({ score }) => typeof score === 'number').sort((a, b) => b.score! - a.score!);
  let accuracy = 0;
  for (let above = 0; above < scored.length; ) {
    const tied = scored.filter(({ score }) => score === scored[above]!.score);
    const wins = missProbability(samples.length, above, k) - missProbability(samples.length, above + tied.length, k);
    accuracy += wins * shareCorrect(tied);
    above += tied.length;
  }
  return accuracy;
}

/**
 * Accuracy of the majority vote over k of N samples, for k = 1 … N (element k − 1), by the multivariate hypergeometric
 * law. With m_a samples giving answer a and m_0 giving none, answer a wins with c votes in
 *
 *   C(m_a, c) · [x^(k−c)] (1 + x)^m_0 · Π_{b≠a} Σ_{j≤c} C(m_b, j) x^j
 *
 * of the C(N, k) subsets, each counted 1/t when t answers have c votes. Costs O(N³) to O(N⁴), over answers of distinct m_a only.
 */
export function majorityAccuracies(samples: readonly LabelledSample[]): number[] {
  const n = samples.length;
  const groups = [
    ...groupBy(
      samples.filter(({ answer }) => answer !== null),
      ({ answer }) => answer!,
    ).values(),
  ];
  const unanswered = n - groups.reduce((sum, group) => sum + group.length, 0);
  const accuracies = new Array<number>(n).fill(0);
  for (const [size, alike] of groupBy(groups, (group) => group.length)) {
    const share = alike.reduce((sum, group) => sum + shareCorrect(group), 0);
    if (share === 0) continue;
    const others = groups.filter((group) => group !== alike[0]).map((group) => group.length);
    for (let votes = 1; votes <= size; votes++) {
      const ways = waysToWin(votes, others, unanswered, n);
      for (let k = votes; k <= n; k++) {
        accuracies[k - 1]! += (share * binomial(size, votes) * ways[k - votes]!) / binomial(n, k);
      }
    }
  }
  return accuracies;
}

/** Per number of further samples: the ways in which no other answer beats `votes`, each weighted 1/(1 + answers tied). */
function waysToWin(votes: number, others: readonly number[], unanswered: number, n: number): Float64Array {
  const mostTied = Math.min(others.length, Math.floor(n / votes) - 1);
  // ways[tied][drawn]
  let ways = Array.from({ length: mostTied + 1 }, () => new Float64Array(n + 1));
  for (let drawn = 0; drawn <= unanswered; drawn++) ways[0]![drawn] = binomial(unanswered, drawn);
  for (const size of others) {
    const choose = binomials(size);
    const next = ways.map(() => new Float64Array(n + 1));
    for (let tied = 0; tied <= mostTied; tied++) {
      for (let drawn = 0; drawn <= n; drawn++) {
        const before = ways[tied]![drawn]!;
        if (before === 0) continue;
        for (let more = 0; more <= Math.min(size, votes) && drawn + more <= n; more++) {
          const row = next[more === votes ? tied + 1 : tied];
          if (row) row[drawn + more]! += before * choose[more]!;
        }
      }
    }
    ways = next;
  }
  return ways.reduce((sum, row, tied) => sum.map((value, i) => value + row[i]! / (tied + 1)), new Float64Array(n + 1));
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

const triangle: Float64Array[] = [Float64Array.of(1)];

/** C(n, k) in double precision. */
export function binomial(n: number, k: number): number {
  return binomials(n)[k] ?? 0;
}

/** C(n, 0) … C(n, n). */
function binomials(n: number): Float64Array {
  for (let row = triangle.length; row <= n; row++) {
    const above = triangle[row - 1]!;
    triangle.push(Float64Array.from({ length: row + 1 }, (_, i) => (above[i - 1] ?? 0) + (above[i] ?? 0)));
  }
  return triangle[n]!;
}

function shareCorrect(samples: readonly LabelledSample[]): number {
  return samples.filter(({ correct }) => correct).length / samples.length;
}

function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
