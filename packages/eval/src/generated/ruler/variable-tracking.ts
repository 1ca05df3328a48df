import type { Random } from '@posttrain/interfaces/random';
import { different, hideIn, NOISE } from './needles.js';
import type { RulerBuilder } from './ruler.js';

const LETTERS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];

/** Variable tracking (VT): a chain of assignments in noise, of which all variables are named; one example comes first. */
export function variableTracking(hops: number): RulerBuilder {
  const problem = (size: number, letters: number, value: string, random: Random) => {
    const names = different(hops + 1, () => Array.from({ length: letters }, () => random.pick(LETTERS)).join(''));
    const chain = names.map((name, i) => (i === 0 ? `VAR ${name} = ${value}` : `VAR ${name} = VAR ${names[i - 1]}`));
    const straw = Array.from({ length: size }, () => NOISE);
    const context = hideIn(straw, chain, random).join('\n');
    return {
      names,
      input: `Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n${context}\nQuestion: Find all variables that are assigned the value ${value} in the text above.`,
      prefix: ` Answer: According to the chain(s) of variable assignment in the text above, ${hops + 1} variables are assigned the value ${value}, they are: `,
    };
  };
  return {
    tokens: 30,
    smallest: hops + 2,
    build(size, random) {
      const shown = problem(hops + 2, 3, String(random.integer(10_000, 99_998)), random);
      const asked = problem(size, 5, String(random.integer(10_000, 99_998)), random);
      const example = `${shown.input}${shown.prefix}${shown.names.join(' ')}`;
      return { input: `${example}\n\n${asked.input}`, prefix: asked.prefix, outputs: asked.names };
    },
  };
}
