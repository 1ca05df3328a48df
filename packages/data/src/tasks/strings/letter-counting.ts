import { isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { someWords } from './words.js';

const count = (words: readonly string[], letter: string): number =>
  [...words.join('').toLowerCase()].filter((one) => one === letter).length;

/** How often a letter comes in a text. */
export const letterCounting = reasoningTask({
  name: 'letter_counting',
  attributes: { words: [1, 5, 12, 30] },
  make: (random, { words }) => {
    const drawn = someWords(random, words);
    return { words: drawn, letter: random.pick([...drawn.join('')]) };
  },
  question: ({ words, letter }) => `How often does the letter "${letter}" come in "${words.join(' ')}"?`,
  answer: ({ words, letter }) => String(count(words, letter)),
  score: ({ words, letter }, answer) => isNumber(answer, count(words, letter)),
});
