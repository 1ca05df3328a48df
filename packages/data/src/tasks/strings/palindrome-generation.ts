import { reasoningTask } from '../reasoning-task.js';
import { letters } from './words.js';

/** A palindrome of all the letters that are given; any is right. */
export const palindromeGeneration = reasoningTask({
  name: 'palindrome_generation',
  attributes: { half: [1, 3, 6, 12] },
  make: (random, { half }) => {
    const start = letters(random, half, 26);
    const middle = letters(random, random.integer(0, 1), 26);
    const solution = start + middle + [...start].reverse().join('');
    return { letters: random.shuffled([...solution]), solution };
  },
  question: ({ letters }) =>
    `Write a text that reads the same backwards, from all of these letters: ${letters.join(', ')}`,
  answer: ({ solution }) => solution,
  score: ({ letters }, answer) =>
    answer === [...answer].reverse().join('') && [...answer].sort().join() === letters.toSorted().join(),
  key: ({ letters }) => letters.toSorted().join(),
});
