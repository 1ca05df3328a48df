import { expect, it } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import { dictionary } from './chat-template/fuzz-targets.js';
import { fuzzModelFiles } from './model-files/fuzz-model-files.js';

// Behind those of every run.
fuzzModelFiles(200, 2000);

it('damaged tokenizer files are used or refused by an error of ours: 3,000 mutants', async () => {
  const module = new URL('tokenizer/fuzz-targets.ts', import.meta.url);
  const report = await fuzz({ module, target: 'tokenizer', kind: 'json', count: 3000, from: 200 });
  console.log(`tokenizer files: ${report.accepted} used, ${report.refused} refused, ${report.faults.length} faults`);
  expect(describeFaults(report)).toBe('');
});

it('4,000 damaged chat templates end with text or an error of ours', async () => {
  const module = new URL('chat-template/fuzz-targets.ts', import.meta.url);
  const report = await fuzz({ module, target: 'chatTemplate', kind: 'text', count: 4000, from: 200, dictionary });
  console.log(`chat templates: ${report.accepted} rendered, ${report.refused} refused, ${report.faults.length} faults`);
  expect(report.faults).toEqual([]);
  expect(report.accepted).toBeGreaterThan(100);
  expect(report.refused).toBeGreaterThan(1000);
});
