import { assertKnownOptions } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import {
  answerAfterMark,
  checkChoices,
  checkRange,
  checkText,
  drawFrom,
  type IntegerRange,
  type ProceduralTask,
} from './procedural-task.js';

/** Options of `reverseText`. */
export interface ReverseTextOptions {
  /** Characters of the text. Default 3 to 8. */
  readonly length?: IntegerRange;
  /** The characters to draw from (code points), without repeats, spaces and `# > ,`. Default `a` to `z`. */
  readonly alphabet?: string;
  /** `'spelled'`: the letters one by one, forwards and backwards, before the answer. Default `'spelled'`. */
  readonly scratchpad?: 'none' | 'spelled';
}

/** A problem of `reverseText`. */
export type ReverseTextProblem = { readonly text: string };

/** Reverse a text: the prompt `cat>`, the solution `c a t,t a c#tac`. Characters: the alphabet, space and `> , #`. */
export function reverseText(options: ReverseTextOptions = {}): ProceduralTask<ReverseTextProblem> {
  assertKnownOptions('reverseText', options, ['length', 'alphabet', 'scratchpad']);
  const { alphabet = 'abcdefghijklmnopqrstuvwxyz', scratchpad = 'spelled' } = options;
  const length = checkRange('reverseText', 'length', options.length ?? [3, 8], 1, 1000);
  checkChoices('reverseText', 'scratchpad', [scratchpad], ['none', 'spelled']);
  const letters = [...alphabet];
  if (letters.length < 2 || new Set(letters).size !== letters.length || /[\s#>,]/u.test(alphabet)) {
    const rule = 'must have at least two different characters, no repeats, no spaces and none of # > ,';
    throw new DataOptionError('reverseText', `"alphabet" ${rule}, got ${JSON.stringify(alphabet)}.`);
  }
  const answer = ({ text }: ReverseTextProblem): string => [...text].reverse().join('');

  return {
    name: 'reverse-text',
    generate(seed, index) {
      const random = createRandom(seed, 'reverse-text', index);
      return { text: Array.from({ length: drawFrom(random, length) }, () => random.pick(letters)).join('') };
    },
    key: (problem) => [problem.text, answer(problem)].sort()[0]!,
    prompt: ({ text }) => `${text}>`,
    solution(problem) {
      const spelled = `${[...problem.text].join(' ')},${[...answer(problem)].join(' ')}`;
      return `${scratchpad === 'none' ? '' : spelled}#${answer(problem)}`;
    },
    answer,
    extractAnswer: answerAfterMark,
    check: (problem, completion) => checkText(answer(problem), completion),
  };
}
