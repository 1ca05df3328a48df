import { isNumber, range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

/** Swaps to make a text of 0 and 1 alternate; −1 where it cannot be. */
function swaps(text: string): number {
  const ones = [...text].filter((bit) => bit === '1').length;
  const wrong = (first: string) => [...text].filter((bit, i) => (i % 2 === 0) !== (bit === first)).length;
  const fits = ['0', '1'].filter((first) => {
    const places = Math.ceil(text.length / 2);
    return (first === '1' ? places : text.length - places) === ones;
  });
  return fits.length === 0 ? -1 : Math.min(...fits.map((first) => wrong(first) / 2));
}

/** The fewest swaps of two characters, anywhere, that make a text of 0 and 1 alternate. */
export const binaryAlternation = reasoningTask({
  name: 'binary_alternation',
  attributes: { length: [4, 8, 16, 32] },
  make: (random, { length }) => {
    const bits = random.shuffled(range(length).map((i) => String(i % 2)));
    if (random.integer(0, 4) === 0) bits[0] = bits[0] === '0' ? '1' : '0';
    return { text: bits.join('') };
  },
  question: ({ text }) =>
    `How many swaps of two characters, anywhere in ${text}, make it alternate between 0 and 1 at least? -1 if it is impossible.`,
  answer: ({ text }) => String(swaps(text)),
  score: ({ text }, answer) => isNumber(answer, swaps(text)),
});
