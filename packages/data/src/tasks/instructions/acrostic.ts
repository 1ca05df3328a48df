import { reasoningTask } from '../reasoning-task.js';
import { someWords } from '../strings/words.js';

/** A text whose lines begin with given letters. The share of lines that do is the score. */
export const acrostic = reasoningTask({
  name: 'acrostic',
  attributes: { letters: [3, 4, 6, 6], words: [2, 3, 4, 6] },
  make: (random, { letters, words }) => ({
    word: someWords(random, 4).join('').slice(0, letters).toUpperCase(),
    words,
  }),
  question: ({ word, words }) =>
    `Write ${word.length} lines of ${words} words each, whose first letters spell ${word}, and nothing else.`,
  answer: ({ word, words }) => [...word].map((letter) => `${letter}${' word'.repeat(words - 1)}`).join('\n'),
  score: ({ word, words }, answer) => {
    const lines = answer.split('\n').map((line) => line.trim());
    if (lines.length !== word.length) return 0;
    const right = lines.filter(
      (line, i) => line.toUpperCase().startsWith(word[i]!) && line.split(/\s+/).length === words,
    );
    return right.length / word.length;
  },
});
