/** Wilson's interval of a share, at 95 %. */
export function wilsonBounds(right: number, count: number): readonly [number, number] {
  const z = 1.959963984540054;
  const p = right / count;
  const scale = 1 + z ** 2 / count;
  const middle = (p + z ** 2 / (2 * count)) / scale;
  const half = (z / scale) * Math.sqrt((p * (1 - p)) / count + z ** 2 / (4 * count ** 2));
  return [middle - half, middle + half];
}
