/** Runs studies of several seeds: prints a table each, writes what was found, and keeps every seed that is done until the sources change. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { intervalOf } from '../background-rl/tables.js';

/** Arms by name, with what was measured of each. */
export type Arms = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A study of three seeds, or of those that it names. */
export interface Study {
  readonly title: string;
  readonly measures: readonly string[];
  /** The arm that all others are compared with. */
  readonly base: string;
  /** Others that some arms are compared with: of each arm, the name of the arm that it stands beside. */
  readonly beside?: Readonly<Record<string, string>>;
  /** Files of the folder that decide what it comes to. Default: all but `run.ts`. */
  readonly sources?: readonly string[];
  /** Default: 1, 2, 3. */
  readonly seeds?: readonly number[];
  arms(seed: number): Promise<Arms>;
}

/** An arm by one measure. */
export interface StudyRow {
  readonly measure: string;
  readonly arm: string;
  readonly values: readonly number[];
  readonly mean: ReturnType<typeof intervalOf>;
  /** How much more than the arm that it is compared with. */
  readonly than?: string;
  readonly apart?: ReturnType<typeof intervalOf>;
}

/** What a study came to. */
export interface Found {
  readonly name: string;
  readonly study: Study;
  readonly rows: readonly StudyRow[];
}

const shown = (value: number): string => value.toFixed(3);
const rounded = (_: string, value: unknown) => (typeof value === 'number' ? Math.round(value * 1e6) / 1e6 : value);

/**
 * Runs the studies that are named, or all; tables go to the standard output, `results/NAME.json` to the folder.
 *
 * @param only one seed, which is kept and nothing written of it. Default: all seeds
 * @throws Error for a name that no study has
 */
export async function runStudies(
  folder: string,
  studies: Readonly<Record<string, Study>>,
  named: readonly string[],
  only?: number,
): Promise<Found[]> {
  const unknown = named.find((name) => !(name in studies));
  if (unknown !== undefined) {
    throw new Error(`there is no study "${unknown}"; take some of ${Object.keys(studies).join(', ')}`);
  }
  const all: Found[] = [];
  for (const name of named.length > 0 ? named : Object.keys(studies)) {
    const study = studies[name]!;
    const { title, measures, base, beside = {}, seeds = [1, 2, 3] } = study;
    const found: Arms[] = [];
    for (const seed of only === undefined ? seeds : [only]) {
      found.push(await cell(folder, name, study, seed));
      console.error(`${name}, seed ${seed}: ${JSON.stringify(found.at(-1))}`);
    }
    if (only !== undefined) continue;
    console.log(`\n${title}: by seed; how much more than ${base}, with its 95 % interval`);
    const rows = measures.flatMap((measure) =>
      Object.keys(found[0]!).flatMap((arm): StudyRow[] => {
        if (found[0]![arm]![measure] === undefined) return [];
        const values = found.map((one) => one[arm]![measure]!);
        const than = beside[arm] ?? base;
        const isCompared = arm !== than && found[0]![than]![measure] !== undefined;
        const apart = isCompared
          ? intervalOf(found.map((one) => one[arm]![measure]! - one[than]![measure]!))
          : undefined;
        const of = than === base ? '' : ` than ${than}`;
        const gain = apart ? `${shown(apart.mean)} [${shown(apart.low)}, ${shown(apart.high)}]${of}` : '';
        console.log(`| ${measure} | ${arm} | ${values.map(shown).join(', ')} | ${gain} |`);
        return [{ measure, arm, values, mean: intervalOf(values), ...(apart && { than, apart }) }];
      }),
    );
    const file = join(folder, 'results', `${name}.json`);
    mkdirSync(join(folder, 'results'), { recursive: true });
    const lines = rows.map((row) => JSON.stringify(row, rounded)).join(',\n');
    const head = JSON.stringify({ title, base, seeds }).slice(0, -1);
    await writeFile(file, `${head}, "rows": [\n${lines}\n]}\n`);
    all.push({ name, study, rows });
  }
  return all;
}

/** What the arms came to with a seed, as it was found before or as it is now. */
async function cell(folder: string, name: string, study: Study, seed: number): Promise<Arms> {
  const file = join(folder, 'runs', `${name}-${seed}-${versionOf(folder, study)}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Arms;
  const found = await study.arms(seed);
  mkdirSync(join(folder, 'runs'), { recursive: true });
  await writeFile(file, JSON.stringify(found));
  return found;
}

/** A hash of the sources of a study. */
function versionOf(folder: string, study: Study): string {
  const sources =
    study.sources ??
    readdirSync(folder).filter((file) => file.endsWith('.ts') && file !== 'run.ts' && !file.includes('.test.'));
  const hash = createHash('sha256').update(sources.map((file) => readFileSync(join(folder, file), 'utf8')).join('\0'));
  return hash.digest('hex').slice(0, 12);
}
