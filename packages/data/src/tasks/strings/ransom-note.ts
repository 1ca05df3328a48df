import { isYesNo, yesNo } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { letters } from './words.js';

function isPossible(note: string, magazine: string): boolean {
  const left = [...magazine];
  return [...note].every((letter) => {
    const at = left.indexOf(letter);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

/** Whether the letters of one text are enough for another. Half of the problems are made so that they are. */
export const ransomNote = reasoningTask({
  name: 'ransom_note',
  attributes: { length: [3, 6, 12, 24] },
  make: (random, { length }) => {
    const magazine = letters(random, 2 * length, 12);
    const isMade = random.integer(0, 1) === 0;
    const note = isMade
      ? random
          .shuffled([...magazine])
          .slice(0, length)
          .join('')
      : letters(random, length, 12);
    return { note, magazine };
  },
  question: ({ note, magazine }) =>
    `Can "${note}" be put together from the letters of "${magazine}", each used once? Yes or No.`,
  answer: ({ note, magazine }) => yesNo(isPossible(note, magazine)),
  score: ({ note, magazine }, answer) => isYesNo(answer, isPossible(note, magazine)),
});
