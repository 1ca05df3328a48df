import { reasoningTask } from '../reasoning-task.js';
import { someWords } from '../strings/words.js';

/** How often each word comes, in any case of letters. */
const times = (text: string, word: string): number =>
  (text.toLowerCase().match(/[a-z]+/g) ?? []).filter((one) => one === word).length;

/** A text of exactly so many words, with each keyword exactly so often. The share of demands that are met is the score. */
export const keywordText = reasoningTask({
  name: 'keyword_text',
  attributes: { keywords: [1, 2, 3, 4], words: [6, 12, 24, 40] },
  make: (random, { keywords: count, words }) => {
    const keywords = [...new Set(someWords(random, count))].map((word) => ({ word, times: random.integer(1, 3) }));
    // As many as the keywords take, where attributes are set on their own.
    return {
      keywords,
      words: Math.max(
        words,
        keywords.reduce((sum, { times }) => sum + times, 0),
      ),
    };
  },
  question: ({ keywords, words }) =>
    `Write a text of exactly ${words} words, in which ${keywords.map(({ word, times }) => `"${word}" comes exactly ${times} times`).join(', ')}.`,
  answer: ({ keywords, words }) => {
    const used = keywords.flatMap(({ word, times }) => Array.from({ length: times }, () => word));
    return [...used, ...Array.from({ length: words }, () => 'and')].slice(0, words).join(' ');
  },
  score: ({ keywords, words }, answer) => {
    const demands = [
      answer.split(/\s+/).length === words,
      ...keywords.map((one) => times(answer, one.word) === one.times),
    ];
    return demands.filter((met) => met).length / demands.length;
  },
});
