import { reasoningTask } from '../reasoning-task.js';

const PAIRS = ['()', '[]', '{}', '<>'];

/** The brackets that close a text, in their order (Dyck language). */
export const brackets = reasoningTask({
  name: 'dyck_language',
  attributes: { length: [4, 10, 20, 40], kinds: [2, 3, 4, 4] },
  make: (random, { length, kinds }) => {
    const open: string[] = [];
    let text = '';
    for (let i = 0; i < length || open.length === 0; i++) {
      const isClosed = open.length > 0 && random.integer(0, 2) === 0;
      const pair = isClosed ? open.pop()! : random.pick(PAIRS.slice(0, kinds));
      if (!isClosed) open.push(pair);
      text += pair[isClosed ? 1 : 0];
    }
    return { text };
  },
  question: ({ text }) => `Which brackets close ${text}, in their order and without spaces?`,
  answer: ({ text }) => {
    const open: string[] = [];
    for (const one of text) {
      const pair = PAIRS.find((two) => two.startsWith(one));
      if (pair === undefined) open.pop();
      else open.push(pair[1]!);
    }
    return open.reverse().join('');
  },
});
