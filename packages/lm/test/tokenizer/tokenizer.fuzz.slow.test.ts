import { expect, it } from 'vitest';
import { describeFaults, fuzz } from '../../../../testing/fuzz.js';

it('damaged tokenizer files are used or refused by an error of ours: 3,000 mutants', async () => {
  const module = new URL('fuzz-targets.ts', import.meta.url);
  const report = await fuzz({ module, target: 'tokenizer', kind: 'json', count: 3000, from: 200 });
  console.log(`tokenizer files: ${report.accepted} used, ${report.refused} refused, ${report.faults.length} faults`);
  expect(describeFaults(report)).toBe('');
});
