/** `npx tsx examples/data-curation/run.ts [--write] [study …]`: the studies of README.md with three seeds, a table each. */
import { runStudies } from '../sft/run-studies.js';
import { STUDIES } from './studies.js';

await runStudies(STUDIES, import.meta.dirname);
