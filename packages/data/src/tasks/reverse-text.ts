import { custom, type Given, oneOf, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { answerAfterMark, checkText, drawFrom, integerRange, type ProceduralTask } from './procedural-task.js';

const reverseTextOptions = options('reverseText', {
  /** Characters of the text. Default 3 to 8. */
  length: integerRange([3, 8], 1, 1000),
  /** The characters to draw from (code points), without repeats, spaces and `# > ,`. Default `a` to `z`. */
  alphabet: custom<string>()(
    'a text of at least two different characters, without repeats, spaces and # > ,',
    (value) => typeof value === 'string' && isAlphabet(value),
    { default: 'abcdefghijklmnopqrstuvwxyz' },
  ),
  /** `'spelled'`: the letters one by one, forwards and backwards, before the answer. Default `'spelled'`. */
  scratchpad: oneOf(['none', 'spelled'], { default: 'spelled' }),
});
/** Options of `reverseText`. */
export type ReverseTextOptions = Given<typeof reverseTextOptions>;

function isAlphabet(alphabet: string): boolean {
  const letters = [...alphabet];
  return letters.length > 1 && new Set(letters).size === letters.length && !/[\s#>,]/u.test(alphabet);
}

/** A problem of `reverseText`. */
export type ReverseTextProblem = { readonly text: string };

/** Reverse a text: the prompt `cat>`, the solution `c a t,t a c#tac`. Characters: the alphabet, space and `> , #`. */
export function reverseText(given: ReverseTextOptions = {}): ProceduralTask<ReverseTextProblem> {
  const { length, alphabet, scratchpad } = reverseTextOptions.read(given);
  const letters = [...alphabet];
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
