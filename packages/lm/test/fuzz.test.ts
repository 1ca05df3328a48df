import { expect, it } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import { fuzzModelFiles } from './model-files/fuzz-model-files.js';

fuzzModelFiles(0, 200);

it('damaged tokenizer files are used or refused by an error of ours: 200 mutants', async () => {
  const module = new URL('tokenizer/fuzz-targets.ts', import.meta.url);
  const report = await fuzz({ module, target: 'tokenizer', kind: 'json', count: 200 });
  expect(describeFaults(report)).toBe('');
  expect(report.accepted).toBeGreaterThan(20);
});
