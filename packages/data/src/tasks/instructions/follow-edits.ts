import { reasoningTask } from '../reasoning-task.js';
import { letters } from '../strings/words.js';

const EDITS: Readonly<Record<string, (text: string) => string>> = {
  'reverse it': (text) => [...text].reverse().join(''),
  'write its first letter again at the end': (text) => text + text[0]!,
  'take away its last letter': (text) => (text.length > 1 ? text.slice(0, -1) : text),
  'move its first letter to the end': (text) => text.slice(1) + text[0]!,
  'write every letter twice': (text) => (text.length > 30 ? text : [...text].map((one) => one + one).join('')),
  'exchange every a for b': (text) => text.replaceAll('a', 'b'),
};

const edited = (text: string, edits: readonly string[]): string => edits.reduce((now, edit) => EDITS[edit]!(now), text);

/** Instructions that are carried out one after the other on a text. */
export const followEdits = reasoningTask({
  name: 'follow_edits',
  attributes: { edits: [1, 2, 4, 8], length: [3, 4, 6, 8] },
  make: (random, { edits, length }) => ({
    text: letters(random, length, 5),
    edits: Array.from({ length: edits }, () => random.pick(Object.keys(EDITS))),
  }),
  question: ({ text, edits }) =>
    `Take the text ${text} and do in turn: ${edits.join('; ')}. (A last letter stays where it is the only one; texts of more than 30 letters are not written twice.) What is the text now?`,
  answer: ({ text, edits }) => edited(text, edits),
});
