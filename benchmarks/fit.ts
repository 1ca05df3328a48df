/** y ∝ x^exponent, fitted by least squares on the logarithms. */
export interface PowerLaw {
  readonly exponent: number;
  /** From the scatter of the points about the line; NaN for two points, which have none. */
  readonly standardError: number;
  /** y at x = 1. */
  readonly scale: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** @throws Error for fewer than two different x */
export function fitPowerLaw(points: readonly Point[]): PowerLaw {
  const logs = points.map(({ x, y }) => ({ x: Math.log(x), y: Math.log(y) }));
  const mean = (key: 'x' | 'y') => logs.reduce((sum, point) => sum + point[key], 0) / logs.length;
  const [meanX, meanY] = [mean('x'), mean('y')];
  const spread = logs.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
  if (!(spread > 0)) throw new Error(`a power law needs two different sizes, got ${points.map(({ x }) => x)}`);
  const exponent = logs.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const residual = logs.reduce((sum, { x, y }) => sum + (y - meanY - exponent * (x - meanX)) ** 2, 0);
  return {
    exponent,
    standardError: logs.length > 2 ? Math.sqrt(residual / (logs.length - 2) / spread) : Number.NaN,
    scale: Math.exp(meanY - exponent * meanX),
  };
}
