import { isYesNo, yesNo } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { letters } from './words.js';

/** Where each letter first came: equal for texts that are the same but for their letters. */
const pattern = (text: string): string => [...text].map((letter) => text.indexOf(letter)).join();

/** Whether one text becomes another by exchanging letters for letters, no two for the same. */
export const isomorphicStrings = reasoningTask({
  name: 'isomorphic_strings',
  attributes: { length: [3, 6, 12, 24] },
  make: (random, { length }) => {
    const first = letters(random, length, 4);
    const to = random.shuffled([...'abcdefghijklmnopqrstuvwxyz']);
    const second = [...first].map((letter) => to[letter.charCodeAt(0) - 97]!);
    if (random.integer(0, 1) === 0) second[random.integer(0, length - 1)] = random.pick(to.slice(0, 5));
    return { first, second: second.join('') };
  },
  question: ({ first, second }) =>
    `Does "${first}" become "${second}" when each letter is exchanged for a letter of its own (no two for the same)? Yes or No.`,
  answer: ({ first, second }) => yesNo(pattern(first) === pattern(second)),
  score: ({ first, second }, answer) => isYesNo(answer, pattern(first) === pattern(second)),
});
