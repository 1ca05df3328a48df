import { basename } from 'node:path';
import { EvaluationError } from '../errors.js';
import type { EvalResult } from '../log/format.js';
import { readLog } from '../log/read-log.js';
import { readInspectLog } from './read-inspect-log.js';
import { readLmEvalFiles } from './read-lm-eval-files.js';

/**
 * Reads the runs of a file by its name: `.jsonl` is this package's log, `results_*.json` is of lm-evaluation-harness, other `.json` and `.eval` are of Inspect.
 *
 * @throws EvaluationError `LOG_KIND` for another name; what the readers throw
 */
export async function readRuns(file: string): Promise<EvalResult[]> {
  const name = basename(file);
  if (name.endsWith('.jsonl')) return [await readLog(file)];
  if (/^results_.*\.json$/.test(name)) return readLmEvalFiles(file);
  if (name.endsWith('.eval') || name.endsWith('.json')) return [await readInspectLog(file)];
  throw new EvaluationError(
    'LOG_KIND',
    `${file}: a log ends in .jsonl, .eval or .json; results of lm-evaluation-harness are results_*.json.`,
  );
}
