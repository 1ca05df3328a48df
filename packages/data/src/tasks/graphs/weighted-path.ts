import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { edgesText, randomEdges } from './edges.js';

/** Length of a shortest way from 0 to the last vertex (Bellman–Ford); infinite where there is none. */
function shortest(vertices: number, edges: readonly (readonly number[])[]): number {
  const far = range(vertices).map((i) => (i === 0 ? 0 : Number.POSITIVE_INFINITY));
  for (const _ of far) {
    for (const [a, b, length] of edges) {
      far[b!] = Math.min(far[b!]!, far[a!]! + length!);
      far[a!] = Math.min(far[a!]!, far[b!]! + length!);
    }
  }
  return far.at(-1)!;
}

const text = (length: number): string => (Number.isFinite(length) ? String(length) : 'none');

/** The length of a shortest way between two vertices of a graph with lengths. */
export const weightedPath = reasoningTask({
  name: 'weighted_path',
  attributes: { vertices: [3, 5, 8, 12], maxLength: [5, 9, 20, 50] },
  make: (random, { vertices, maxLength }) => ({
    vertices,
    edges: randomEdges(random, vertices, 45).map(([a, b]) => [a, b, random.integer(1, maxLength)]),
  }),
  question: ({ vertices, edges }) =>
    `(a, b, d) says that a and b are joined by a road of length d: ${edgesText(edges)}. How long is a shortest way from 0 to ${vertices - 1}? If there is no way, answer: none.`,
  answer: ({ vertices, edges }) => text(shortest(vertices, edges)),
  score: ({ vertices, edges }, answer) => isNumber(answer, text(shortest(vertices, edges))),
});
