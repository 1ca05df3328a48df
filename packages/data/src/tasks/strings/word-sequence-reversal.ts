import { shareEqual, wordsOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { someWords } from './words.js';

/** A list of words, backwards. The share of right places is the score. */
export const wordSequenceReversal = reasoningTask({
  name: 'word_sequence_reversal',
  attributes: { words: [2, 4, 8, 16] },
  make: (random, { words }) => ({ words: someWords(random, words) }),
  question: ({ words }) => `List these words from last to first, with commas: ${words.join(', ')}`,
  answer: ({ words }) => words.toReversed().join(', '),
  score: ({ words }, answer) => shareEqual(wordsOf(answer), words.toReversed()),
});
