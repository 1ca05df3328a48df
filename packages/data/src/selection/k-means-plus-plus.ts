/**
 * Centres of k-means++ (Arthur and Vassilvitskii 2007) as BADGE draws them (arXiv 1906.03671, algorithm 1): the first
 * is the longest vector, each next one x with probability ∝ D(x)², D the distance to the nearest centre so far. Where
 * all that is left lies on centres, the first of it. Returns indices, in the order in which they were drawn, `count`
 * of them or all.
 *
 * @param draw uniform numbers in [0, 1): one for each centre but the first
 */
export function kMeansPlusPlus(vectors: readonly ArrayLike<number>[], count: number, draw: () => number): number[] {
  if (vectors.length === 0 || count < 1) return [];
  const lengths = vectors.map((vector) => squaredDistance(vector));
  const chosen = [lengths.indexOf(Math.max(...lengths))];
  const nearest = new Float64Array(vectors.length).fill(Number.POSITIVE_INFINITY);
  while (chosen.length < Math.min(count, vectors.length)) {
    const centre = vectors[chosen.at(-1)!]!;
    vectors.forEach((vector, i) => {
      nearest[i] = Math.min(nearest[i]!, squaredDistance(vector, centre));
    });
    chosen.push(drawn(nearest, draw()) ?? firstLeft(vectors.length, chosen));
  }
  return chosen;
}

/** The index whose share of the weights the number falls into; undefined where they are all 0. */
function drawn(weights: Float64Array, uniform: number): number | undefined {
  let left = uniform * weights.reduce((sum, weight) => sum + weight, 0);
  let last: number | undefined;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    last = i;
    left -= weights[i]!;
    if (left < 0) return i;
  }
  // Rounding of the sum.
  return last;
}

function firstLeft(count: number, chosen: readonly number[]): number {
  const taken = new Set(chosen);
  return Array.from({ length: count }, (_, i) => i).find((i) => !taken.has(i))!;
}

function squaredDistance(a: ArrayLike<number>, b?: ArrayLike<number>): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += (a[j]! - (b?.[j] ?? 0)) ** 2;
  return sum;
}
