import type { Random } from '../random/index.js';

/** The square of the distance of two vectors of one length. */
function squaredDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}

/** Centres of k-means++ (Arthur and Vassilvitskii 2007): each is drawn with the square of its distance from those before it. */
function drawCentres(vectors: readonly ArrayLike<number>[], k: number, random: Random): ArrayLike<number>[] {
  const centres: ArrayLike<number>[] = [];
  while (centres.length < Math.min(k, vectors.length)) {
    const far = vectors.map((it) =>
      centres.length === 0 ? 1 : Math.min(...centres.map((c) => squaredDistance(it, c))),
    );
    let left = random.float() * far.reduce((sum, it) => sum + it, 0);
    const at = far.findIndex((it) => {
      left -= it;
      return it > 0 && left <= 0;
    });
    // What is left is equal to a centre.
    if (at < 0) break;
    centres.push(vectors[at]!);
  }
  return centres;
}

/**
 * Lloyd's k-means of vectors, from centres by k-means++, until none moves or for 100 rounds: for each cluster the indices of its vectors, the nearest
 * to its centre first. Clusters that stay empty are left out, so that there are at most `k`.
 */
export function kMeans(vectors: readonly ArrayLike<number>[], k: number, random: Random): number[][] {
  const centres = drawCentres(vectors, k, random);
  let places: number[] = [];
  for (let round = 0; round < 100; round++) {
    const next = vectors.map((it) => {
      const far = centres.map((centre) => squaredDistance(it, centre));
      return far.indexOf(Math.min(...far));
    });
    if (next.every((place, i) => place === places[i])) break;
    places = next;
    for (const c of centres.keys()) {
      const own = vectors.filter((_, i) => places[i] === c);
      if (own.length > 0) {
        centres[c] = Array.from(
          { length: own[0]!.length },
          (_, d) => own.reduce((sum, it) => sum + it[d]!, 0) / own.length,
        );
      }
    }
  }
  return centres
    .map((centre, c) =>
      [...vectors.keys()]
        .filter((i) => places[i] === c)
        .sort((a, b) => squaredDistance(vectors[a]!, centre) - squaredDistance(vectors[b]!, centre)),
    )
    .filter((members) => members.length > 0);
}
