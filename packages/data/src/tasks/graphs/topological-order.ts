import { integersOf, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { edgesText, randomEdges } from './edges.js';

/** An order of tasks where each comes behind what it needs; any such order is right. */
export const topologicalOrder = reasoningTask({
  name: 'topological_order',
  attributes: { tasks: [3, 5, 8, 14], percent: [40, 40, 40, 40] },
  make: (random, { tasks, percent }) => {
    const solution = random.shuffled(range(tasks));
    const before = random.shuffled(randomEdges(random, tasks, percent).map(([a, b]) => [solution[a]!, solution[b]!]));
    return { before, solution };
  },
  question: ({ before, solution }) =>
    `(a, b) says that a comes before b: ${edgesText(before)}. List the numbers 0 to ${solution.length - 1} in an order where all of these hold, with commas.`,
  answer: ({ solution }) => solution.join(', '),
  score: ({ before, solution }, answer) => {
    const order = integersOf(answer) ?? [];
    const isWhole = order.toSorted((a, b) => a - b).join() === range(solution.length).join();
    return isWhole && before.every(([a, b]) => order.indexOf(a!) < order.indexOf(b!));
  },
});
