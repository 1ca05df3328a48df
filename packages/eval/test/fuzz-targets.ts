import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FuzzModule } from '../../../testing/fuzz.js';
import { lmEvalResult } from '../src/formats/read-lm-eval-files.js';
import { evaluate, metricsTable, readInspectLog, readLmEvalFiles, readLog } from '../src/index.js';
import { noisyAdder, sumRows, sumTask } from './models.js';

const golden = (path: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`../../../goldens/${path}`, import.meta.url)));

/** Each reader's result is used, so that what it should have refused is seen. The place in the corpus says which reader it is for. */
export const { fuzzTargets }: FuzzModule = {
  fuzzTargets: {
    text: {
      async corpus() {
        const folder = mkdtempSync(join(tmpdir(), 'posttrain-fuzz-'));
        try {
          await evaluate(sumTask(sumRows(4), 2), noisyAdder(0.4), { log: join(folder, 'log.jsonl') });
          const log = Uint8Array.from(readFileSync(join(folder, 'log.jsonl')));
          return [
            log,
            golden('inspect/theirs.json'),
            golden('inspect/ours.json'),
            golden('lm-eval-files/results.json'),
          ];
        } finally {
          rmSync(folder, { recursive: true });
        }
      },
      async run(mutant, { folder, index }) {
        const file = `${folder}/${['x.jsonl', 'x.json', 'x.json', 'results_1.json'][index % 4]}`;
        writeFileSync(file, mutant);
        if (index % 4 === 0) metricsTable([await readLog(file)]);
        else if (index % 4 < 3) metricsTable([await readInspectLog(file)]);
        else {
          metricsTable(await readLmEvalFiles(file));
          lmEvalResult({}, 't', {}, Buffer.from(mutant).toString('utf8').replaceAll('\n', ' '), 'x.jsonl');
        }
      },
    },
    archive: {
      corpus: () => [golden('inspect/theirs.eval'), golden('inspect/ours.eval')],
      async run(mutant, { folder }) {
        writeFileSync(`${folder}/x.eval`, mutant);
        metricsTable([await readInspectLog(`${folder}/x.eval`)]);
      },
    },
  },
};
