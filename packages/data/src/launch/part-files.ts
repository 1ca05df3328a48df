import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '@posttrain/interfaces/node';
import { DataFileError, messageOf } from '../errors.js';
import type { WriteSummary } from '../io/atomic-file.js';
import { isReadable, readRows, writeRows } from '../io/files.js';
import type { Pipeline } from '../pipeline.js';
import { isPlainObject, type Row } from '../rows.js';
import { changeOf, type StageIdentity } from '../stages/identity.js';
import type { Shard, StepReport } from '../step.js';

/** What is known of a part that is complete. */
export interface PartMarker {
  readonly rank: number;
  readonly world: number;
  readonly rows: number;
  readonly bytes: number;
  /** SHA-256 of the file. */
  readonly hash: string;
  readonly reports: readonly StepReport[];
  /** What decides the rows, where `writePart` was told. */
  readonly identity?: StageIdentity;
}

const five = (number: number): string => String(number).padStart(5, '0');
const partName = ({ rank, world }: Shard, extension: string): string =>
  `part-${five(rank)}-of-${five(world)}.${extension}`;
const markerOf = (folder: string, { rank, world }: Shard): string =>
  join(folder, 'completions', `${five(rank)}-of-${five(world)}.json`);

/**
 * Writes the rows of a shard as `part-RRRRR-of-WWWWW.EXTENSION`, and then its completion marker in `completions/`. A part that is complete, its marker says so and the file
 * has the bytes that it names, is not made again: `make` is not called. So a job that was killed is started again as it was.
 *
 * @param extension of `writeRows`, such as `jsonl.zst`
 * @param identity what decides the rows (source, seed, steps); a complete part of another is an error, as are parts of several that are merged
 * @returns the marker, and whether the part was there
 * @throws what the pipeline throws; DataFileError
 */
export async function writePart(
  folder: string,
  shards: Shard,
  extension: string,
  make: () => Pipeline<object>,
  identity?: StageIdentity,
): Promise<{ readonly marker: PartMarker; readonly wasComplete: boolean }> {
  const there = await readMarker(markerOf(folder, shards));
  const path = join(folder, partName(shards, extension));
  if (there !== undefined && (await hashOf(path).catch(() => '')) === there.hash) {
    const changes = identity === undefined ? '' : changeOf(there.identity ?? {}, identity);
    if (changes === '') return { marker: there, wasComplete: true };
    throw new DataFileError({ path }, `was made otherwise: ${changes}. Delete the folder, or give another.`);
  }
  await rm(markerOf(folder, shards), { force: true });
  await mkdir(join(folder, 'completions'), { recursive: true });
  const run = make();
  const { rows, bytes } = await writeRows(path, run.rows);
  const marker: PartMarker = {
    ...shards,
    rows,
    bytes,
    hash: await hashOf(path),
    reports: run.report(),
    ...(identity && { identity }),
  };
  await writeAtomically((files) =>
    files.stage(markerOf(folder, shards), (write) => write(Buffer.from(JSON.stringify(marker)))),
  );
  return { marker, wasComplete: false };
}

/** The markers of all parts, by rank. @throws DataFileError that names the ranks that are not complete */
export async function completedParts(folder: string, world: number): Promise<readonly PartMarker[]> {
  const markers = await Promise.all(
    Array.from({ length: world }, (_, rank) => readMarker(markerOf(folder, { rank, world }))),
  );
  const missing = markers.flatMap((marker, rank) => (marker === undefined ? [rank] : []));
  if (missing.length === 0) {
    const [first, ...others] = markers as PartMarker[];
    for (const { rank, identity } of others) {
      const changes = changeOf(first!.identity ?? {}, identity ?? {});
      if (changes === '') continue;
      throw new DataFileError({ path: folder }, `part ${rank} was made otherwise than part 0: ${changes}.`);
    }
    return markers as PartMarker[];
  }
  throw new DataFileError(
    { path: folder },
    `${missing.length} of ${world} parts are not complete: ranks ${missing.slice(0, 20).join(', ')}${missing.length > 20 ? ', …' : ''}. Start those again.`,
  );
}

/**
 * The rows of all parts, in the order of their ranks. A part whose file is gone, or is another than its marker says, is an error, as is one that is not complete.
 *
 * @throws DataFileError
 */
export async function* readParts(folder: string, world: number): AsyncGenerator<Row> {
  const markers = await completedParts(folder, world);
  const names = await readdir(folder);
  for (const { rank, hash } of markers) {
    // Of one that was made again with another ending both are there.
    const candidates = names.filter((one) => one.startsWith(partName({ rank, world }, '')) && isReadable(one));
    if (candidates.length === 0)
      throw new DataFileError({ path: folder }, `the file of part ${rank} of ${world} is gone; start that rank again.`);
    const paths = candidates.map((name) => join(folder, name));
    const hashes = await Promise.all(paths.map(hashOf));
    const path = paths[hashes.indexOf(hash)];
    if (path === undefined)
      throw new DataFileError({ path: paths[0]! }, 'is another file than its marker says; start that rank again.');
    yield* readRows(path);
  }
}

/** Merges the parts into one file, in the order of their ranks, and adds up their reports. @throws DataFileError */
export async function mergeParts(
  folder: string,
  world: number,
  path: string,
): Promise<{ readonly written: WriteSummary; readonly reports: readonly StepReport[] }> {
  const markers = await completedParts(folder, world);
  const written = await writeRows(path, readParts(folder, world));
  return { written, reports: addReports(markers.map(({ reports }) => reports)) };
}

/** Reports of the same steps over different rows as one. */
export function addReports(all: readonly (readonly StepReport[])[]): readonly StepReport[] {
  const [first = [], ...others] = all;
  return first.map((report, i) =>
    others.reduce<StepReport>((sum, reports) => {
      const other = reports[i]!;
      const warnings = counts(sum.warnings, other.warnings);
      return {
        step: sum.step,
        read: sum.read + other.read,
        kept: sum.kept + other.kept,
        dropped: sum.dropped + other.dropped,
        reasons: counts(sum.reasons, other.reasons),
        ...(Object.keys(warnings).length > 0 && { warnings }),
      };
    }, report),
  );
}

function counts(
  a: Readonly<Record<string, number>> = {},
  b: Readonly<Record<string, number>> = {},
): Record<string, number> {
  const sum = new Map(Object.entries(a));
  for (const [name, count] of Object.entries(b)) sum.set(name, (sum.get(name) ?? 0) + count);
  return Object.fromEntries([...sum].sort(([, x], [, y]) => y - x));
}

async function readMarker(path: string): Promise<PartMarker | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const marker: unknown = JSON.parse(text);
    if (!isPlainObject(marker) || typeof marker.hash !== 'string') throw new Error('it is no marker of a part');
    return marker as unknown as PartMarker;
  } catch (cause) {
    throw new DataFileError({ path }, `is damaged: ${messageOf(cause)}. Delete it, and start that rank again.`, {
      cause,
    });
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
