import type { Random } from '@posttrain/interfaces/random';

/** The inner product of two vectors of one length. */
export function innerProduct(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The vector at length 1, in a new array; one of zeros stays as it is. */
export function normalized(vector: Float32Array): Float32Array {
  const length = Math.sqrt(innerProduct(vector, vector));
  return length === 0 ? vector.slice() : vector.map((value) => value / length);
}

/** Vectors by centroid, and how similar each is to its own. */
export interface Clustering {
  readonly members: readonly (readonly number[])[];
  readonly similarities: Float64Array;
}

/**
 * Spherical k-means (Dhillon and Modha 2001) of vectors of length 1: each goes to the centroid with the largest cosine similarity, a centroid is the
 * normalised mean of its vectors, until none moves or `iterations` are over. The first centroids are drawn by k-means++ with distance 1 − cosine; one that
 * loses all its vectors stays where it is.
 */
export async function sphericalKMeans(
  vectors: readonly Float32Array[],
  { k, iterations, random, onIteration }: KMeansSettings,
): Promise<Clustering> {
  const centroids: Float32Array[] = [];
  const nearest = new Float64Array(vectors.length).fill(Number.NEGATIVE_INFINITY);
  const assigned = new Int32Array(vectors.length).fill(-1);
  while (centroids.length < Math.min(k, vectors.length)) {
    const weights = Array.from(nearest, (similarity) => Math.max(0, Math.min(1, 1 - similarity)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    // What is left is equal to a centroid.
    if (total < 1e-12) break;
    let at = random.float() * total;
    let drawn = weights.findIndex((weight) => {
      at -= weight;
      return at < 0;
    });
    if (drawn < 0) drawn = weights.findLastIndex((weight) => weight > 0);
    const centroid = vectors[drawn]!;
    centroids.push(centroid);
    vectors.forEach((vector, i) => {
      nearest[i] = Math.max(nearest[i]!, innerProduct(vector, centroid));
    });
    await onIteration();
  }
  for (let iteration = 0; iteration < iterations; iteration++) {
    let moved = 0;
    vectors.forEach((vector, i) => {
      let best = 0;
      nearest[i] = Number.NEGATIVE_INFINITY;
      for (const [c, centroid] of centroids.entries()) {
        const similarity = innerProduct(vector, centroid);
        if (similarity > nearest[i]!) [best, nearest[i]] = [c, similarity];
      }
      if (assigned[i] !== best) moved++;
      assigned[i] = best;
    });
    await onIteration();
    if (moved === 0 || iteration === iterations - 1) break;
    const sums = centroids.map((centroid) => new Float32Array(centroid.length));
    vectors.forEach((vector, i) => {
      const sum = sums[assigned[i]!]!;
      for (let d = 0; d < sum.length; d++) sum[d]! += vector[d]!;
    });
    sums.forEach((sum, c) => {
      if (sum.some((value) => value !== 0)) centroids[c] = normalized(sum);
    });
  }
  const members: number[][] = centroids.map(() => []);
  for (const [i, centroid] of assigned.entries()) members[centroid]!.push(i);
  return { members, similarities: nearest };
}

interface KMeansSettings {
  readonly k: number;
  readonly iterations: number;
  readonly random: Random;
  /** Called between passes over all vectors: may throw to cancel, and yields to the event loop. */
  readonly onIteration: () => Promise<void>;
}
