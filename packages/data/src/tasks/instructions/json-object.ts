import { isPlainObject } from '@posttrain/interfaces';
import { jsonOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { someWords } from '../strings/words.js';

const EXAMPLES: Readonly<Record<string, unknown>> = { text: 'a', number: 1, boolean: true, list: [] };

const isOf = (type: string, value: unknown): boolean => {
  if (type === 'list') return Array.isArray(value);
  return typeof value === (type === 'text' ? 'string' : type);
};

/** A JSON object with exactly the keys that are asked for, each of its type. The share of keys that are right is the score. */
export const jsonObject = reasoningTask({
  name: 'json_object',
  attributes: { keys: [1, 3, 6, 10] },
  make: (random, { keys }) => ({
    keys: [...new Set(someWords(random, keys))].map((name) => ({
      name,
      type: random.pick(['text', 'number', 'boolean', 'list']),
    })),
  }),
  question: ({ keys }) =>
    `Answer with a JSON object of exactly these keys: ${keys.map(({ name, type }) => `"${name}" (a ${type})`).join(', ')}.`,
  answer: ({ keys }) => JSON.stringify(Object.fromEntries(keys.map(({ name, type }) => [name, EXAMPLES[type]]))),
  score: ({ keys }, answer) => {
    const value = jsonOf(answer);
    if (!isPlainObject(value)) return 0;
    const right = keys.filter(({ name, type }) => Object.hasOwn(value, name) && isOf(type, value[name])).length;
    return right / Math.max(keys.length, Object.keys(value).length);
  },
});
