// What the parts of a study have come to, cell by cell, in files that a further run goes on from.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const SEEDS = [1, 2, 3];

/** The cells of the files `PART.json` of a folder: one that is there is not made again. Numbers are kept to five digits behind the point. */
export function cellsOf(folder: string) {
  /** What a cell comes to. */
  async function cell<T>(part: string, name: string, make: () => T | Promise<T>): Promise<T> {
    const file = join(folder, `${part}.json`);
    const read = (): Record<string, T> => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {});
    const found = read();
    if (name in found) return found[name]!;
    const rounded = (_: string, x: unknown) => (typeof x === 'number' ? Number(x.toFixed(5)) : x);
    const made = JSON.parse(JSON.stringify(await make(), rounded)) as T;
    mkdirSync(folder, { recursive: true });
    // Read again: another run may have written meanwhile.
    writeFileSync(file, `${JSON.stringify({ ...read(), [name]: made }).replaceAll(',"', ',\n "')}\n`);
    return made;
  }

  /** What a cell comes to for each of three seeds. */
  async function ofSeeds<T>(part: string, name: string, make: (seed: number) => T | Promise<T>): Promise<T[]> {
    const cells: T[] = [];
    for (const seed of SEEDS) cells.push(await cell(part, `${name} ${seed}`, () => make(seed)));
    return cells;
  }

  return { cell, ofSeeds };
}
