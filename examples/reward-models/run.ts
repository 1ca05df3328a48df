/**
 * The studies of README.md, of three seeds or five: `npx tsx examples/reward-models/run.ts [study ...]`, all of them or those that are named. Prints
 * a table for each, and writes what it found into results/. A seed that is done stays in runs/ until the studies change, so that a run
 * that was stopped goes on behind it.
 */
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { runStudies } from './harness.js';
import { STUDIES } from './studies.js';

// Operations of so small a model are no work for several threads.
setEngine(onnxruntimeEngine({ threads: 1 }));
await runStudies(import.meta.dirname, STUDIES, process.argv.slice(2));
