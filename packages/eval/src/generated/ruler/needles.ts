import type { Random } from '@posttrain/interfaces/random';
import { fillerSentence, keyWord, sevenDigits, uuid } from '../words.js';
import type { RulerBuilder } from './ruler.js';

/** What a NIAH task of RULER hides, and where. */
export interface NeedleSettings {
  readonly haystack: 'noise' | 'essay' | 'needle';
  readonly keys: 'words' | 'uuids';
  readonly values: 'numbers' | 'uuids';
  /** Keys, values of each, and keys that are asked for. */
  readonly counts: readonly [keys: number, values: number, queries: number];
}

export const NOISE = 'The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.';
const MAKERS = { words: keyWord, uuids: uuid, numbers: sevenDigits } as const;

/** Needle in a haystack, RULER's forms: one of {single, multi-key, multi-value, multi-query}. */
export function needles({
  haystack,
  keys: keyKind,
  values: valueKind,
  counts: [keyCount, valueCount, queryCount],
}: NeedleSettings): RulerBuilder {
  const [makeKey, makeValue] = [MAKERS[keyKind], MAKERS[valueKind]];
  const needle = (key: string, value: string) => `One of the special magic ${valueKind} for ${key} is: ${value}.`;
  return {
    tokens: 128,
    smallest: Math.max(4, keyCount * valueCount),
    build(size, random, { sentences }) {
      const keys = different(keyCount, () => makeKey(random));
      const values = keys.map(() => different(valueCount, () => makeValue(random)));
      const hidden = random.shuffled(keys.flatMap((key, i) => values[i]!.map((value) => needle(key, value))));
      const taken = new Set(keys);
      const straw = Array.from({ length: size }, (_, i) => {
        if (haystack === 'noise') return NOISE;
        if (haystack === 'essay') return sentences ? sentences[i % sentences.length]! : fillerSentence(random);
        let key = makeKey(random);
        while (taken.has(key)) key = makeKey(random);
        return needle(key, makeValue(random));
      });
      const context = hideIn(straw, hidden, random).join(haystack === 'essay' ? ' ' : '\n');
      const asked = random.shuffled(keys.map((_, i) => i)).slice(0, queryCount);
      const queries = asked.map((i) => keys[i]!);
      const query = queries.length > 1 ? `${queries.slice(0, -1).join(', ')}, and ${queries.at(-1)}` : queries[0]!;
      const isOne = queryCount * valueCount === 1;
      const kind = isOne ? valueKind.slice(0, -1) : valueKind;
      const [begin, verb] = isOne ? [`A special magic ${kind} is`, 'is'] : [`Some special magic ${kind} are`, 'are'];
      const what = isOne ? `What is the special magic ${kind}` : `What are all the special magic ${kind}`;
      return {
        input: `${begin} hidden within the following text. Make sure to memorize it. I will quiz you about the ${kind} afterwards.\n${context}\n${what} for ${query} mentioned in the provided text?`,
        prefix: ` The special magic ${kind} for ${query} mentioned in the provided text ${verb}`,
        outputs: asked.flatMap((i) => values[i]!),
      };
    },
  };
}

/** So many different things. */
export function different(count: number, make: () => string): string[] {
  const found = new Set<string>();
  while (found.size < count) found.add(make());
  return [...found];
}

/** Puts things between others, in their order, at different places. */
export function hideIn(straw: readonly string[], hidden: readonly string[], random: Random): string[] {
  const places = random
    .shuffled(straw.map((_, i) => i))
    .slice(0, hidden.length)
    .sort((a, b) => a - b);
  const before = new Map(places.map((place, i) => [place, hidden[i]!]));
  const laid = straw.flatMap((one, i) => (before.has(i) ? [before.get(i)!, one] : [one]));
  return [...laid, ...hidden.slice(places.length)];
}
