import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { edgesText, randomEdges } from './edges.js';

function count(vertices: number, edges: readonly (readonly number[])[]): number {
  const group = range(vertices);
  for (const [a, b] of edges) {
    const [from, to] = [group[a!]!, group[b!]!];
    for (const i of range(vertices)) if (group[i] === from) group[i] = to;
  }
  return new Set(group).size;
}

/** How many parts a graph has that are not joined. */
export const components = reasoningTask({
  name: 'connected_components',
  attributes: { vertices: [3, 6, 10, 18] },
  make: (random, { vertices }) => ({
    vertices,
    edges: random.shuffled(randomEdges(random, vertices, Math.ceil(120 / vertices))),
  }),
  question: ({ vertices, edges }) =>
    `A graph has the vertices 0 to ${vertices - 1} and the edges ${edgesText(edges)}. How many connected components has it?`,
  answer: ({ vertices, edges }) => String(count(vertices, edges)),
  score: ({ vertices, edges }, answer) => isNumber(answer, count(vertices, edges)),
});
