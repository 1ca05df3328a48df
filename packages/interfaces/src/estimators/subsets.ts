import { PosttrainError } from '../errors.js';

/**
 * Closed forms over all C(n, k) subsets of the n samples of one problem.
 *
 * What cannot be graded: samples that a grader could not score (`null`) have no part in any of them; leave them out before,
 * so that n counts graded samples only. What cannot be chosen (no answer, no score of the ranking verifier) is drawn and
 * never chosen, and a subset in which nothing can be chosen is worth 0: the strategy returns nothing there.
 */

/** Samples, right ones or a k with which nothing can be estimated. Code `BAD_ESTIMATE`. */
export class EstimatorError extends PosttrainError {
  constructor(message: string) {
    super('BAD_ESTIMATE', message);
  }
}

/** Largest n of `majorityOfK`: all binomials stay finite in double precision. */
export const MOST_SAMPLES = 1000;

/**
 * pass@k = 1 − C(n − c, k) / C(n, k): the chance that one of k samples is right, unbiased, from n samples of which c are
 * right (Chen et al. 2021, arXiv 2107.03374). Computed as a product, which does not overflow.
 * @throws EstimatorError unless 1 ≤ k ≤ n and 0 ≤ c ≤ n are whole numbers
 */
export function passAtK(n: number, c: number, k: number): number {
  assertDraw('pass@k', n, k, `, c = ${c} right`);
  if (!Number.isSafeInteger(c) || c < 0 || c > n) {
    throw new EstimatorError(
      `pass@k: of n = ${n} samples c = ${c} cannot be right (k = ${k}); c must be a whole number from 0 to n.`,
    );
  }
  return 1 - missProbability(n, c, k);
}

/** A graded sample, as a strategy that picks the best sees it. */
export interface RankedSample {
  /** What choosing it is worth: 1 when right, 0 when wrong, or another score. */
  readonly value: number;
  /** Higher is chosen first, ties evenly; `null`: not scorable, never chosen. */
  readonly rank: number | null;
}

/**
 * best-of-k: the expected value of the sample with the highest rank among k of n. With the samples in falling order of
 * rank, samples a+1 … a+m tied,
 *
 *   Σ_ties [C(n−a, k) − C(n−a−m, k)] / C(n, k) · (mean value of the m).
 *
 * @throws EstimatorError unless 1 ≤ k ≤ n, or on a value or rank that is not finite
 */
export function bestOfK(samples: readonly RankedSample[], k: number): number {
  const n = samples.length;
  assertDraw('best-of-k', n, k);
  samples.forEach(({ value, rank }, i) => {
    if (Number.isFinite(value) && (rank === null || Number.isFinite(rank))) return;
    throw new EstimatorError(`best-of-k: sample ${i} has value ${value} and rank ${rank}; both must be finite.`);
  });
  const ranked = samples.filter(({ rank }) => rank !== null).sort((a, b) => b.rank! - a.rank!);
  let expected = 0;
  for (let above = 0; above < ranked.length; ) {
    let tied = above;
    let sum = 0;
    while (tied < ranked.length && ranked[tied]!.rank === ranked[above]!.rank) sum += ranked[tied++]!.value;
    const chance = missProbability(n, above, k) - missProbability(n, tied, k);
    expected += chance * (sum / (tied - above));
    above = tied;
  }
  return expected;
}

/** The samples of one problem that give the same answer. */
export interface AnswerGroup {
  readonly size: number;
  /** What choosing one of them is worth on average: 1 when the answer is right, 0 when it is wrong. */
  readonly value: number;
}

/**
 * Majority vote over k of n samples (arXiv 2203.11171): its expected value for every k of `ks`, by the multivariate
 * hypergeometric law. With m_a samples giving answer a and m_0 giving none, a wins with c votes in
 *
 *   C(m_a, c) · [x^(k−c)] (1 + x)^m_0 · Π_{b≠a} Σ_{j≤c} C(m_b, j) x^j
 *
 * of the C(n, k) subsets, each counted 1/t when t answers have c votes: "first seen wins", averaged over the order of
 * drawing. Samples without an answer abstain. Costs O(n³) to O(n⁴), over answers of distinct m_a only.
 * @throws EstimatorError unless 1 ≤ k ≤ n ≤ `MOST_SAMPLES`, on a number of samples that is none, or on a value that is not finite
 */
export function majorityOfK(groups: readonly AnswerGroup[], abstentions: number, ks: readonly number[]): number[] {
  for (const count of [...groups.map(({ size }) => size), abstentions]) {
    if (Number.isSafeInteger(count) && count >= 0) continue;
    throw new EstimatorError(`maj@k: ${count} samples give one answer, or none; it must be a whole number from 0 on.`);
  }
  const n = groups.reduce((sum, { size }) => sum + size, abstentions);
  for (const k of ks) assertDraw('maj@k', n, k);
  if (n > MOST_SAMPLES) {
    throw new EstimatorError(`maj@k: n = ${n} samples are more than ${MOST_SAMPLES}, the most that is exact here.`);
  }
  const most = Math.max(...ks);
  const values = ks.map(() => 0);
  const bySize = new Map<number, number>();
  for (const { size, value } of groups) {
    if (!Number.isFinite(value))
      throw new EstimatorError(`maj@k: an answer has the value ${value}; it must be finite.`);
    bySize.set(size, (bySize.get(size) ?? 0) + value);
  }
  for (const [size, value] of bySize) {
    if (value === 0) continue;
    const sizes = groups.map((group) => group.size);
    sizes.splice(sizes.indexOf(size), 1);
    for (let votes = 1; votes <= Math.min(size, most); votes++) {
      const ways = waysToWin(votes, sizes, abstentions, most - votes);
      ks.forEach((k, i) => {
        if (k >= votes) values[i]! += (value * binomial(size, votes) * ways[k - votes]!) / binomial(n, k);
      });
    }
  }
  return values;
}

/** Per number of further samples: the ways in which no other answer beats `votes`, each weighted 1/(1 + answers tied). */
function waysToWin(votes: number, others: readonly number[], abstentions: number, most: number): Float64Array {
  const mostTied = Math.min(others.length, Math.floor(most / votes));
  // ways[tied][drawn]
  let ways = Array.from({ length: mostTied + 1 }, () => new Float64Array(most + 1));
  for (let drawn = 0; drawn <= Math.min(abstentions, most); drawn++) ways[0]![drawn] = binomial(abstentions, drawn);
  for (const size of others) {
    const choose = binomials(size);
    const next = ways.map(() => new Float64Array(most + 1));
    ways.forEach((row, tied) => {
      row.forEach((before, drawn) => {
        if (before === 0) return;
        for (let more = 0; more <= Math.min(size, votes) && drawn + more <= most; more++) {
          const target = next[more === votes ? tied + 1 : tied];
          if (target) target[drawn + more]! += before * choose[more]!;
        }
      });
    });
    ways = next;
  }
  const total = new Float64Array(most + 1);
  ways.forEach((row, tied) => {
    row.forEach((count, drawn) => {
      total[drawn]! += count / (tied + 1);
    });
  });
  return total;
}

/** C(n − marked, k) / C(n, k): the chance that k of n, drawn without replacement, avoid `marked` given ones. */
function missProbability(n: number, marked: number, k: number): number {
  if (n - marked < k) return 0;
  let chance = 1;
  for (let i = n - marked + 1; i <= n; i++) chance *= 1 - k / i;
  return chance;
}

function assertDraw(what: string, n: number, k: number, also = ''): void {
  if (Number.isSafeInteger(k) && k >= 1 && Number.isSafeInteger(n) && n >= k) return;
  throw new EstimatorError(
    `${what}: k = ${k} samples cannot be drawn from n = ${n} graded samples${also}; k must be a whole number from 1 to n. Draw more samples, or ask for a smaller k.`,
  );
}

const triangle: Float64Array[] = [Float64Array.of(1)];

/** C(n, k) in double precision; finite up to n = 1029. */
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
