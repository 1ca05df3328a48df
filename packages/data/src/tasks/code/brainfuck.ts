import { reasoningTask } from '../reasoning-task.js';

/** Output of a program without input; `null` where it takes more than a million steps. */
export function runBrainfuck(program: string): string | null {
  const jumps = new Map<number, number>();
  const open: number[] = [];
  for (const [i, symbol] of [...program].entries()) {
    if (symbol === '[') open.push(i);
    if (symbol !== ']') continue;
    const start = open.pop();
    if (start === undefined) return null;
    jumps.set(i, start).set(start, i);
  }
  const cells = new Uint8Array(30_000);
  let [cell, output] = [0, ''];
  for (let at = 0, steps = 0; at < program.length; at++) {
    if (++steps > 1_000_000 || cell < 0) return null;
    const symbol = program[at];
    if (symbol === '>') cell++;
    else if (symbol === '<') cell--;
    else if (symbol === '+') cells[cell]!++;
    else if (symbol === '-') cells[cell]!--;
    else if (symbol === '.') output += String.fromCharCode(cells[cell]!);
    else if ((symbol === '[' && cells[cell] === 0) || (symbol === ']' && cells[cell] !== 0)) at = jumps.get(at)!;
  }
  return output;
}

/** What a Brainfuck program prints: words, made with a loop of products. */
export const brainfuck = reasoningTask({
  name: 'bf',
  attributes: { letters: [1, 2, 4, 8] },
  make: (random, { letters }) => {
    const codes = Array.from({ length: letters }, () => random.integer(97, 122));
    let [program, value] = ['', 0];
    for (const code of codes) {
      const change = code - value;
      const [sign, size] = [change < 0 ? '-' : '+', Math.abs(change)];
      const factor = random.integer(3, 9);
      if (size > factor) program += `>${'+'.repeat(factor)}[<${sign.repeat(Math.floor(size / factor))}>-]<`;
      program += `${sign.repeat(size > factor ? size % factor : size)}.`;
      value = code;
    }
    return { program };
  },
  question: ({ program }) => `What does this Brainfuck program print?\n${program}`,
  answer: ({ program }) => runBrainfuck(program) ?? '',
});
