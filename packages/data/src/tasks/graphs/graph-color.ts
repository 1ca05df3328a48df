import { isPlainObject } from '@posttrain/interfaces';
import { jsonOf, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { edgesText, randomEdges } from './edges.js';

/** A colouring whose neighbours differ, as a JSON object; any is right. */
export const graphColor = reasoningTask({
  name: 'graph_color',
  attributes: { vertices: [3, 5, 8, 14], percent: [40, 40, 50, 50] },
  make: (random, { vertices, percent }) => {
    const solution = range(vertices).map(() => random.integer(1, 3));
    const edges = randomEdges(random, vertices, percent).filter(([a, b]) => solution[a] !== solution[b]);
    return { vertices, edges, colors: 3, solution };
  },
  question: ({ vertices, edges, colors }) =>
    `Give the vertices 0 to ${vertices - 1} colours from 1 to ${colors} so that no two that are joined have the same. Edges: ${edgesText(edges)}. Answer with a JSON object such as {"0": 1, "1": 2}.`,
  answer: ({ solution }) => JSON.stringify(Object.fromEntries(solution.map((color, i) => [i, color]))),
  score: ({ vertices, edges, colors }, answer) => {
    const map = jsonOf(answer);
    if (!isPlainObject(map) || Object.keys(map).length !== vertices) return 0;
    const isColor = (one: unknown) => Number.isSafeInteger(one) && (one as number) >= 1 && (one as number) <= colors;
    return range(vertices).every((i) => isColor(map[i])) && edges.every(([a, b]) => map[a!] !== map[b!]);
  },
});
