import { range, shareEqual, wordsOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

const RUNNERS = ['Ana', 'Bo', 'Cy', 'Dee', 'Eli', 'Flo', 'Gil', 'Hal'];

/** The order of some runners from who was just ahead of whom, which fixes it. The share of right places is the score. */
export const ordering = reasoningTask({
  name: 'ordering',
  attributes: { runners: [3, 4, 6, 8] },
  make: (random, { runners }) => {
    const solution = random.shuffled(range(runners));
    const clues = random.shuffled(range(runners - 1)).map((i) => [solution[i]!, solution[i + 1]!]);
    return { clues, solution };
  },
  question: ({ clues }) =>
    `${clues.map(([first, second]) => `${RUNNERS[first!]} came right before ${RUNNERS[second!]}.`).join(' ')} List all of them from first to last, with commas.`,
  answer: ({ solution }) => solution.map((one) => RUNNERS[one]).join(', '),
  score: ({ solution }, answer) =>
    shareEqual(
      wordsOf(answer),
      solution.map((one) => RUNNERS[one]),
    ),
});
