import { jsonOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { someWords } from './words.js';

const sortedLetters = (word: string): string => [...word].sort().join('');

function groupsOf(words: readonly string[]): string[][] {
  const groups = new Map<string, string[]>();
  for (const word of words) groups.set(sortedLetters(word), [...(groups.get(sortedLetters(word)) ?? []), word]);
  return [...groups.values()];
}

const plain = (groups: readonly (readonly string[])[]): string =>
  groups
    .map((group) => group.toSorted().join())
    .sort()
    .join(' ');

/** Words in groups of the same letters, as a JSON list of lists in any order. */
export const groupAnagrams = reasoningTask({
  name: 'group_anagrams',
  attributes: { groups: [2, 3, 5, 8], size: [2, 2, 3, 4] },
  make: (random, { groups, size }) => ({
    words: random.shuffled(
      someWords(random, groups).flatMap((word) => [
        word,
        ...Array.from({ length: size - 1 }, () => random.shuffled([...word]).join('')),
      ]),
    ),
  }),
  question: ({ words }) =>
    `Put words of the same letters together, as a JSON list of lists such as [["tea", "eat"], ["dog"]]: ${JSON.stringify(words)}`,
  answer: ({ words }) => JSON.stringify(groupsOf(words)),
  score: ({ words }, answer) => {
    const groups = jsonOf(answer);
    const isLists =
      Array.isArray(groups) &&
      groups.every((one) => Array.isArray(one) && one.every((word) => typeof word === 'string'));
    return isLists && plain(groups as string[][]) === plain(groupsOf(words));
  },
  key: ({ words }) => words.toSorted().join(),
});
