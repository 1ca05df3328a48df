import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { isPosttrainError, PosttrainError } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { messageOf } from '../errors.js';
import { formatReport } from '../format-report.js';
import { dataFiles, namesOf } from '../io/data-files.js';
import { readRows, writeRows } from '../io/files.js';
import { launcherShard } from '../launch/launcher-shard.js';
import { mergeParts, writePart } from '../launch/part-files.js';
import { type Pipeline, pipeline } from '../pipeline.js';
import { withSteps } from '../stages/identity.js';
import type { DroppedRow } from '../step.js';
import { type DroppedExample, type RunReport, renderPage } from './page.js';
import { type PipelineFile, readPipelineFile } from './pipeline-file.js';
import { RowStatistics } from './statistics.js';
import { STEP_NAMES } from './steps.js';

/** What the command needs of the outside. */
export interface CommandContext {
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const HELP = `Usage: posttrain-data run PIPELINE.yaml
       posttrain-data merge PIPELINE.yaml --world NUMBER
       posttrain-data steps

run    reads the rows of "input", takes them through "steps" and writes "output". Under a launcher (a Slurm array, srun, mpirun, an Indexed Job of
       Kubernetes) each process writes its part into the folder "output"; one that is complete is not made again.
merge  makes one file, OUTPUT.EXTENSION, of the parts of all processes.
steps  lists the steps that a pipeline can have.

Keys of a pipeline: input (a file, folder or glob, or { path, split, config }), steps, output, parts (ending of the parts, jsonl.zst), workFolder,
report (a JSON file), page (an HTML file), text (the column that is measured), seed, examples (dropped rows shown of each reason, 3).
`;

/** `posttrain-data`: runs a command line, and gives the exit status: 0, or 1 where something was wrong, which was said. */
export async function dataCommand(given: readonly string[], context: CommandContext): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args: [...given],
      allowPositionals: true,
      options: { help: { type: 'boolean' }, world: { type: 'string' } },
    });
    const [command, file, ...others] = positionals;
    if (values.help || command === undefined) {
      context.print(HELP);
      return command === undefined && !values.help ? 1 : 0;
    }
    if (command === 'steps') {
      context.print(`${STEP_NAMES.join('\n')}\n`);
      return 0;
    }
    if ((command !== 'run' && command !== 'merge') || file === undefined || others.length > 0) {
      throw new PosttrainError('ARGUMENTS', `give "run" or "merge" and one file, or --help.`);
    }
    const settings = await readPipelineFile(file);
    if (command === 'merge') return await merge(settings, values.world, context);
    return await run(file, settings, context);
  } catch (error) {
    context.complain(`${isPosttrainError(error) ? error.message : messageOf(error)}\n`);
    return 1;
  }
}

async function merge(settings: PipelineFile, world: string | undefined, { print }: CommandContext): Promise<number> {
  if (world === undefined || !/^[1-9]\d*$/.test(world)) {
    throw new PosttrainError('ARGUMENTS', 'merge needs --world NUMBER: how many processes there were.');
  }
  const path = `${settings.output.replace(/\/$/, '')}.${settings.parts}`;
  const { written, reports } = await mergeParts(settings.output, Number(world), path);
  print(`${formatReport([...reports])}\n${written.rows} rows in ${path}\n`);
  return 0;
}

async function run(
  file: string,
  settings: PipelineFile,
  { print, complain, environment }: CommandContext,
): Promise<number> {
  const { rank, world, launcher } = launcherShard(environment);
  const { path, ...options } = settings.input;
  const files = await dataFiles(path, options);
  const sizes = await Promise.all(files.map(async (one) => (await stat(one)).size));
  let before = new RowStatistics(settings.text);
  const progress = new Progress(sizes, complain);
  async function* source(): AsyncGenerator<object> {
    // A source is read again to see whether it is what it was.
    before = new RowStatistics(settings.text);
    for (const [i, one] of files.entries()) {
      for await (const row of readRows(one)) {
        before.add(row);
        progress.row(i);
        yield row;
      }
    }
  }
  const after = new RowStatistics(settings.text);
  const examples = new Examples(settings);
  const make = (): Pipeline<object> => {
    const made = pipeline<object>(source, settings.steps, {
      seed: settings.seed,
      shards: { rank, world },
      onDrop: (drop) => examples.add(drop),
      onWarning: (warning) => complain(`${warning}\n`),
      ...(settings.workFolder !== undefined && { workFolder: settings.workFolder }),
    });
    const { rows } = made;
    return { ...made, rows: counted(rows, after) };
  };
  let output = settings.output;
  let steps: RunReport['steps'];
  let warnings: readonly string[] = [];
  if (launcher === 'none') {
    const made = make();
    await writeRows(output, made.rows);
    [steps, warnings] = [made.report(), made.warnings()];
  } else {
    const { marker, wasComplete } = await writePart(
      output,
      { rank, world },
      settings.parts,
      make,
      withSteps(
        { seed: String(settings.seed), files: JSON.stringify(namesOf(files, path)), sizes: sizes.join(' ') },
        settings.steps,
        0,
      ),
    );
    if (wasComplete) {
      print(`part ${rank} of ${world} is complete: ${marker.rows} rows\n`);
      return 0;
    }
    steps = marker.reports;
    output = `${output} (part ${rank} of ${world}, ${launcher})`;
  }
  progress.end();
  const report: RunReport = {
    pipeline: basename(file),
    output,
    before: before.result(),
    after: after.result(),
    steps,
    examples: examples.all,
    warnings,
  };
  const of = (name: string): string => (launcher === 'none' ? name : name.replace(/(\.[^./]*)?$/, `-${rank}$1`));
  await writeAtomically(async (staged) => {
    const { report: json, page } = settings;
    if (json !== undefined)
      await staged.stage(of(json), (write) => write(Buffer.from(`${JSON.stringify(report, null, 2)}\n`)));
    if (page !== undefined) await staged.stage(of(page), (write) => write(Buffer.from(renderPage(report))));
  });
  print(`${formatReport([...steps])}\n${report.after.rows} rows in ${output}\n`);
  return 0;
}

async function* counted(rows: AsyncIterable<object>, statistics: RowStatistics): AsyncGenerator<object> {
  for await (const row of rows) {
    statistics.add(row);
    yield row;
  }
}

/** Most characters of a text that is shown. */
const SHOWN = 500;

/** The first dropped rows of each step and reason. */
class Examples {
  readonly all: DroppedExample[] = [];
  readonly #counts = new Map<string, number>();
  readonly #settings: PipelineFile;
  constructor(settings: PipelineFile) {
    this.#settings = settings;
  }

  add({ step, reason, row, key }: DroppedRow): void {
    const name = JSON.stringify([step, reason]);
    const count = this.#counts.get(name) ?? 0;
    if (count >= this.#settings.examples) return;
    this.#counts.set(name, count + 1);
    const text = (row as Readonly<Record<string, unknown>>)[this.#settings.text];
    const shown =
      typeof text === 'string'
        ? text
        : (JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)) ?? '');
    this.all.push({ step, reason, id: key.id, text: shown.length > SHOWN ? `${shown.slice(0, SHOWN)}…` : shown });
  }
}

const EVERY_MS = 2000;

/** A line on how far the reading is, every two seconds; the time that is left is known once a file is done. */
class Progress {
  #rows = 0;
  #shownAt = Date.now();
  readonly #startedAt = Date.now();
  readonly #before: readonly number[];
  readonly #total: number;
  readonly #write: (text: string) => void;

  constructor(sizes: readonly number[], write: (text: string) => void) {
    let sum = 0;
    this.#before = sizes.map((size) => {
      sum += size;
      return sum - size;
    });
    this.#total = sum;
    this.#write = write;
  }

  row(file: number): void {
    this.#rows++;
    if (this.#rows % 256 !== 0 || Date.now() - this.#shownAt < EVERY_MS) return;
    this.#shownAt = Date.now();
    const share = this.#before[file]! / Math.max(1, this.#total);
    const elapsed = (this.#shownAt - this.#startedAt) / 1000;
    const left = share > 0 ? `, about ${Math.ceil((elapsed * (1 - share)) / share)} s left` : '';
    this.#write(
      `${this.#rows} rows, file ${file + 1} of ${this.#before.length} (${Math.floor(100 * share)} %)${left}\n`,
    );
  }

  end(): void {
    this.#write(`${this.#rows} rows read in ${((Date.now() - this.#startedAt) / 1000).toFixed(1)} s\n`);
  }
}
