import type { Random } from '@posttrain/interfaces/random';
import { range } from '../answers.js';

/** Each pair of different numbers below `count`, in rising order, with a chance of `percent` in 100. */
export const randomEdges = (random: Random, count: number, percent: number): [number, number][] =>
  range(count).flatMap((a) =>
    range(count)
      .slice(a + 1)
      .filter(() => random.integer(1, 100) <= percent)
      .map((b): [number, number] => [a, b]),
  );

export const edgesText = (edges: readonly (readonly number[])[]): string =>
  edges.map((edge) => `(${edge.join(', ')})`).join(', ') || 'none';
