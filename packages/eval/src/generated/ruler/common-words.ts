import type { Random } from '@posttrain/interfaces/random';
import { madeUpWords } from '../words.js';
import type { RulerBuilder } from './ruler.js';

const PREFIX = ' Answer: The top 10 words that appear most often in the list are:';
const COMMON = 10;

function list(size: number, often: number, seldom: number, random: Random) {
  const words = madeUpWords(random, size);
  const [common, others] = [words.slice(0, COMMON), words.slice(COMMON)];
  const all = [
    ...common.flatMap((word) => Array<string>(often).fill(word)),
    ...others.flatMap((word) => Array<string>(seldom).fill(word)),
  ];
  const shown = random.shuffled(all).map((word, i) => `${i + 1}. ${word}`);
  const intro =
    'Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that appear most often.';
  return {
    common,
    input: `${intro}\n${shown.join(' ')}\nQuestion: What are the 10 most common words in the above list?`,
  };
}

/** Common words extraction (CWE): ten words come 30 times in a list, all others 3 times (6 and once below 4096 tokens, as RULER has it). */
export const commonWords: RulerBuilder = {
  tokens: 120,
  smallest: COMMON + 2,
  build(size, random, { length }) {
    const isShort = length < 4096;
    const shown = isShort ? list(20, 3, 1, random) : list(40, 10, 3, random);
    const asked = isShort ? list(size, 6, 1, random) : list(size, 30, 3, random);
    const answer = shown.common.map((word, i) => `${i + 1}. ${word}`).join(' ');
    return { input: `${shown.input}${PREFIX} ${answer}\n${asked.input}`, prefix: PREFIX, outputs: asked.common };
  },
};
