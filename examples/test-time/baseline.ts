import type { ScalingRow } from '@posttrain/eval';

/** Accuracy of a baseline at so many tokens, by ln(tokens) between its points; its nearest point beyond them. */
export function baselineAt(curve: readonly ScalingRow[], strategy: string, tokens: number): number {
  const points = curve.filter((row) => row.strategy === strategy).sort((a, b) => a.meanTokens - b.meanTokens);
  const after = points.findIndex(({ meanTokens }) => meanTokens >= tokens);
  if (after < 0) return points.at(-1)!.accuracy!;
  const [a, b] = [points[after - 1], points[after]!];
  if (!a) return b.accuracy!;
  const share = Math.log(tokens / a.meanTokens) / Math.log(b.meanTokens / a.meanTokens);
  return a.accuracy! + share * (b.accuracy! - a.accuracy!);
}
