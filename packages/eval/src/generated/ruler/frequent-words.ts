import { different } from './needles.js';
import type { RulerBuilder } from './ruler.js';

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];

/** Riemann's ζ(α), α > 1: a sum, and Euler and Maclaurin's first terms of its tail. */
export function zeta(alpha: number): number {
  const last = 1000;
  let sum = 0;
  for (let k = 1; k < last; k++) sum += k ** -alpha;
  return sum + last ** (1 - alpha) / (alpha - 1) + last ** -alpha / 2 + (alpha * last ** (-alpha - 1)) / 12;
}

/** Frequent words extraction (FWE): coded words whose counts fall as k^−α/ζ(α); the first is noise (`...`), the next three are asked for. */
export function frequentWords(alpha: number): RulerBuilder {
  return {
    tokens: 50,
    // Below it the fourth word would not come more often than the fifth.
    smallest: Math.ceil(40 * zeta(alpha)),
    build(size, random, { length }) {
      const vocabulary = different(Math.max(20, Math.floor(length / 50)), () =>
        Array.from({ length: 6 }, () => random.pick(LETTERS)).join(''),
      );
      vocabulary[0] = '...';
      const all = vocabulary.flatMap((word, i) =>
        Array<string>(Math.floor((size * (i + 1) ** -alpha) / zeta(alpha))).fill(word),
      );
      const context = random.shuffled(all).join(' ');
      return {
        input: `Read the following coded text and track the frequency of each coded word. Find the three most frequently appeared coded words. ${context}\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared words in the above coded text?`,
        prefix: ' Answer: According to the coded text above, the three most frequently appeared words are:',
        outputs: vocabulary.slice(1, 4),
      };
    },
  };
}
