import { custom, type Given, integer, listOf, number, options, text } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { meanScore } from '../metrics/mean.js';
import type { GenerateTask } from '../task.js';
import { type CountTokens, fitSize } from './fit.js';
import { stringMatch } from './string-match.js';
import { fillerSentence, keyWord, sentencesOf, sevenDigits } from './words.js';

const needleOptions = options('needleInHaystack', {
  /** Lengths in tokens. */
  lengths: listOf(integer({ min: 128 }), {}),
  /** Where the needle is: 0 the beginning, 1 the end. Default 0, 0.25, 0.5, 0.75, 1. */
  depths: listOf(number({ min: 0, max: 1 }), { default: [0, 0.25, 0.5, 0.75, 1] }),
  /** Problems at each length and depth. Default 10. */
  count: integer({ default: 10, min: 1 }),
  /** Counts tokens as the model does. */
  countTokens: custom<CountTokens>()('a function of a text', (value) => typeof value === 'function', {}),
  /** Default 0. */
  seed: integer({ default: 0 }),
  /** A text that the needle is hidden in. Default: sentences that are made up. */
  essay: text({ optional: true }),
});
/** Options of `needleInHaystack`. */
export type NeedleInHaystackOptions = Given<typeof needleOptions>;

/** A needle in a haystack. */
export interface NeedleRow {
  readonly length: number;
  readonly depth: number;
  readonly input: string;
  readonly outputs: readonly string[];
  readonly tokens: number;
}

/** Tokens kept for the answer. */
const ANSWER_TOKENS = 64;

/**
 * Needle in a haystack (Kamradt 2023): one fact at each depth of texts of each length, which is asked for. Results are told apart by the
 * columns `length` and `depth` of the rows; one length and depth are a cluster.
 *
 * @throws OptionError; EvaluationError `TOO_SHORT`
 */
export function needleInHaystack(given: NeedleInHaystackOptions): GenerateTask<NeedleRow> {
  const { lengths, depths, count, countTokens, seed, essay } = needleOptions.read(given);
  const own = essay === undefined ? undefined : sentencesOf(essay);
  const make = (size: number, depth: number, length: number, index: number): NeedleRow => {
    const random = createRandom(seed, 'needle', length, String(depth), index);
    const [key, value] = [keyWord(random), sevenDigits(random)];
    const straw = Array.from({ length: size }, (_, i) => (own ? own[i % own.length]! : fillerSentence(random)));
    const at = Math.round(depth * size);
    const context = [...straw.slice(0, at), `The secret number of the ${key} is ${value}.`, ...straw.slice(at)].join(
      ' ',
    );
    const input = `Read the text and answer the question below it.\n\n${context}\n\nQuestion: What is the secret number of the ${key}? Answer with the number.`;
    return { length, depth, input, outputs: [value], tokens: countTokens(input) + ANSWER_TOKENS };
  };
  const dataset = lengths.flatMap((length) =>
    depths.flatMap((depth) =>
      Array.from({ length: count }, (_, index) =>
        make(
          fitSize('needleInHaystack', length, 1, (size) => make(size, depth, length, index).tokens),
          depth,
          length,
          index,
        ),
      ),
    ),
  );
  return {
    type: 'generate',
    name: 'needle in a haystack',
    dataset,
    prompt: ({ input }) => input,
    cluster: ({ length, depth }) => `${length} at ${depth}`,
    sampling: { temperature: 0, maxTokens: ANSWER_TOKENS },
    graders: [stringMatch()],
    metrics: [meanScore()],
  };
}
