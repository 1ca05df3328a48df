import { reasoningTask } from '../reasoning-task.js';
import { someWords } from './words.js';

const shifted = (text: string, by: number): string =>
  text.replaceAll(/[A-Z]/g, (letter) => String.fromCharCode(((letter.charCodeAt(0) - 65 + by + 26) % 26) + 65));

/** A text whose letters were shifted along the alphabet, to be shifted back. */
export const caesarCipher = reasoningTask({
  name: 'caesar_cipher',
  attributes: { words: [1, 3, 6, 12], rotation: [3, 10, 25, 25] },
  make: (random, { words, rotation }) => {
    const by = random.integer(1, rotation);
    return { cipher: shifted(someWords(random, words).join(' ').toUpperCase(), by), rotation: by };
  },
  question: ({ cipher, rotation }) =>
    `Every letter was moved ${rotation} places forward in the alphabet: ${cipher}. What was the text?`,
  answer: ({ cipher, rotation }) => shifted(cipher, -rotation),
  score: ({ cipher, rotation }, answer) => answer.toUpperCase() === shifted(cipher, -rotation),
});
