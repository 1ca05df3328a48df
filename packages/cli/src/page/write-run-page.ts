import { join } from 'node:path';
import { writeReport } from '@posttrain/eval';
import { readRun } from './read-run.js';
import { runReport } from './run-report.js';

/** Where the page of a run is, unless another place is given. */
export const PAGE = 'run.html';

/**
 * Writes the page of a run, and of others in comparison with it.
 *
 * @returns the path of the page
 * @throws CommandLineError for a folder without a run; PosttrainError RUN_RECORD, FileError
 */
export async function writeRunPage(
  folder: string,
  { others = [], file = join(folder, PAGE) }: { readonly others?: readonly string[]; readonly file?: string } = {},
): Promise<string> {
  const [run, ...compared] = await Promise.all([folder, ...others].map(readRun));
  await writeReport(file, runReport(run!, compared));
  return file;
}
