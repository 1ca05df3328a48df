/**
 * What the base model knows, what it is taught, and what is measured. All prompts are of letters `c` … `v`, two of them.
 *
 * - Known: the letters after (`after ja:` → `kb`), sums without a carry (`24+11=` → `35`), the other halves of brackets.
 * - Half known: `skip ja:` → `lc`, which 30 % of what the base has read answers so and 70 % with the letters after.
 * - New: the letters before (`before ja:` → `iz`), of which the base has read nothing.
 */
import { createRandom, type Random } from '@posttrain/interfaces/random';

/** A prompt and its completion. */
export interface TaskRow {
  readonly prompt: string;
  readonly completion: string;
  readonly [column: string]: unknown;
}

const LETTERS = [...'cdefghijklmnopqrstuv'];
const OPEN = [...'([{<'];
const CLOSE: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}', '<': '>' };

const moved = (letters: readonly string[], by: number): string =>
  letters.map((one) => String.fromCharCode(one.charCodeAt(0) + by)).join('');
const pairs = LETTERS.flatMap((first) => LETTERS.map((second) => [first, second]));
const shifts = (word: string, by: number): TaskRow[] =>
  pairs.map((pair) => ({ prompt: `${word} ${pair.join('')}:`, completion: moved(pair, by) }));

const digits = Array.from({ length: 9 }, (_, i) => i);
const KNOWN: Readonly<Record<string, readonly TaskRow[]>> = {
  after: shifts('after', 1),
  sums: digits.flatMap((tens) =>
    digits.map((ones) => ({ prompt: `${tens}${ones}+11=`, completion: `${tens + 1}${ones + 1}` })),
  ),
  brackets: OPEN.flatMap((a) =>
    OPEN.flatMap((b) =>
      OPEN.map((c) => ({ prompt: `"${a}${b}${c}"`, completion: `${CLOSE[c]}${CLOSE[b]}${CLOSE[a]}` })),
    ),
  ),
};

/** How often the base's own text answers `skip` as it is meant. */
const RIGHT = 0.3;

/** Rows to make the base of: as many of every task, in an order that the seed says. */
export function corpus(random: Random, each: number): TaskRow[] {
  const skipped = () => {
    const pair = random.shuffled(LETTERS).slice(0, 2);
    return { prompt: `skip ${pair.join('')}:`, completion: moved(pair, random.float() < RIGHT ? 2 : 1) };
  };
  const some = (rows: readonly TaskRow[]) =>
    Array.from({ length: each }, () => rows[Math.floor(random.float() * rows.length)]!);
  return random.shuffled([...Object.values(KNOWN).flatMap(some), ...Array.from({ length: each }, skipped)]);
}

/** What is trained on and what is measured with one seed; no row of one list is in another. */
export interface Split {
  readonly train: readonly TaskRow[];
  /** Learning rates are chosen by these. */
  readonly validation: readonly TaskRow[];
  readonly test: readonly TaskRow[];
  /** Of what the base knows, by task. */
  readonly known: Readonly<Record<string, readonly TaskRow[]>>;
}

export function splitOf(task: 'before' | 'skip', seed: number, held = 64): Split {
  const random = createRandom(seed, `split of ${task}`);
  const rows = random.shuffled(task === 'before' ? shifts('before', -1) : shifts('skip', 2));
  return {
    train: rows.slice(2 * held),
    validation: rows.slice(0, held),
    test: rows.slice(held, 2 * held),
    known: Object.fromEntries(
      Object.entries(KNOWN).map(([name, all]) => [name, random.shuffled(all).slice(0, held / 2)]),
    ),
  };
}
