import { isNumber } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

function power(base: number, exponent: number, modulus: number): number {
  let [result, factor] = [1n, BigInt(base)];
  for (let left = exponent; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = (result * factor) % BigInt(modulus);
    factor = (factor * factor) % BigInt(modulus);
  }
  return Number(result % BigInt(modulus));
}

/** A power modulo a number. */
export const modularPower = reasoningTask({
  name: 'modular_power',
  attributes: { digits: [1, 2, 3, 5] },
  make: (random, { digits }) => {
    const draw = () => random.integer(2, 10 ** digits - 1);
    return { base: draw(), exponent: draw(), modulus: draw() };
  },
  question: ({ base, exponent, modulus }) => `What is ${base} to the power of ${exponent}, modulo ${modulus}?`,
  answer: ({ base, exponent, modulus }) => String(power(base, exponent, modulus)),
  score: ({ base, exponent, modulus }, answer) => isNumber(answer, power(base, exponent, modulus)),
});
