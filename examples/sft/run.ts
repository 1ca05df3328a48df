/** `npx tsx examples/sft/run.ts [--write] [study …]`: the studies of README.md with three seeds, a table each. */
import { runStudies } from './run-studies.js';
import { STUDIES } from './studies.js';

await runStudies(STUDIES, import.meta.dirname);
