/**
 * Wilson's score interval of a proportion (Wilson 1927), (p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n), of whole numbers 0 ≤ successes ≤ count > 0.
 *
 * @param z standard deviations on either side: 1.96 for 95 %
 */
export function wilsonBounds(successes: number, count: number, z: number): readonly [low: number, high: number] {
  const p = successes / count;
  const z2 = z * z;
  const centre = p + z2 / (2 * count);
  const half = z * Math.sqrt((p * (1 - p)) / count + z2 / (4 * count * count));
  return [Math.max(0, (centre - half) / (1 + z2 / count)), Math.min(1, (centre + half) / (1 + z2 / count))];
}
