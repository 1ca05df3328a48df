import { isYesNo, range, yesNo } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { edgesText, randomEdges } from './edges.js';

/** Whether everything can be done: what needs nothing that is left is done, until nothing is. */
function isPossible(courses: number, needs: readonly (readonly number[])[]): boolean {
  let left = range(courses);
  for (;;) {
    const next = left.filter((course) => needs.some(([one, before]) => one === course && left.includes(before!)));
    if (next.length === left.length) return left.length === 0;
    left = next;
  }
}

/** Whether courses can all be taken, some of which need others before. */
export const courseSchedule = reasoningTask({
  name: 'course_schedule',
  attributes: { courses: [3, 5, 8, 14], percent: [40, 40, 35, 30] },
  make: (random, { courses, percent }) => {
    const names = random.shuffled(range(courses));
    const needs = randomEdges(random, courses, percent).map(([a, b]) => [names[a]!, names[b]!]);
    const [first] = needs;
    if (first !== undefined && random.integer(0, 1) === 0) needs.push([first[1]!, first[0]!]);
    return { courses, needs: random.shuffled(needs) };
  },
  question: ({ courses, needs }) =>
    `There are ${courses} courses, 0 to ${courses - 1}. (a, b) says that a needs b before it: ${edgesText(needs)}. Can all be taken? Yes or No.`,
  answer: ({ courses, needs }) => yesNo(isPossible(courses, needs)),
  score: ({ courses, needs }, answer) => isYesNo(answer, isPossible(courses, needs)),
});
