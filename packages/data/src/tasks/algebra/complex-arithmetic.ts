import { reasoningTask } from '../reasoning-task.js';

const textOf = ([re, im]: readonly [number, number]): string => `${re} ${im < 0 ? '-' : '+'} ${Math.abs(im)}i`;

function result([a, b]: readonly number[], [c, d]: readonly number[], operation: string): readonly [number, number] {
  if (operation === '+') return [a! + c!, b! + d!];
  if (operation === '-') return [a! - c!, b! - d!];
  return [a! * c! - b! * d! + 0, a! * d! + b! * c! + 0];
}

/** Sums, differences and products of complex numbers with whole parts. */
export const complexArithmetic = reasoningTask({
  name: 'complex_arithmetic',
  attributes: { maxPart: [5, 10, 100, 1000], operations: [2, 3, 3, 3] },
  make: (random, { maxPart, operations }) => {
    const draw = () => random.integer(-maxPart, maxPart);
    const operation = random.pick(['+', '-', '*'].slice(0, operations));
    return { left: [draw(), draw()], right: [draw(), draw()], operation };
  },
  question: ({ left, right, operation }) =>
    `What is (${textOf(left as [number, number])}) ${operation} (${textOf(right as [number, number])})? Answer as a + bi.`,
  answer: ({ left, right, operation }) => textOf(result(left, right, operation)),
  score: ({ left, right, operation }, answer) => {
    const [re, im] = result(left, right, operation);
    const plain = answer.replaceAll(/[\s()*]/g, '').replaceAll(/\.0+(?=\D)/g, '');
    const [, real = '0', sign, size] = /^(?:([-+]?\d{1,15})(?=[-+]|$))?(?:([-+]?)(\d{0,15})i)?$/.exec(plain) ?? [
      undefined,
      'x',
    ];
    const imaginary = sign === undefined ? 0 : Number(size === '' ? 1 : size) * (sign === '-' ? -1 : 1);
    return plain !== '' && Number(real) === re && imaginary === im;
  },
});
