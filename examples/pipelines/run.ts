/**
 * The pipelines of README.md, three seeds each: `npx tsx examples/pipelines/run.ts [--seed N] [r1 | rlhf | …]`. Prints a table, and writes
 * results/NAME.json and, of all that is there, results/report.html with tables and plots. Seeds that are done are kept in runs/; `--seed` does one and
 * writes nothing else, so that the seeds of a study can be run side by side.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { writeReport } from '@posttrain/eval';
import { runStudies } from '../reward-models/harness.js';
import { reportOf } from './report.js';
import { STUDIES } from './studies.js';

// Operations of so small a model are no work for several threads.
setEngine(onnxruntimeEngine({ threads: 1 }));
const here = import.meta.dirname;
const { values, positionals } = parseArgs({ options: { seed: { type: 'string' } }, allowPositionals: true });
const only = values.seed === undefined ? undefined : Number(values.seed);
const done = await runStudies(here, STUDIES, positionals, only);
const results = join(here, 'results');
const written = Object.keys(STUDIES).filter((name) => existsSync(join(results, `${name}.json`)));
if (done.length > 0) await writeReport(join(results, 'report.html'), reportOf(results, written));
