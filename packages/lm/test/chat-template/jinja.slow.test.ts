import { expect, it } from 'vitest';
import { fuzz } from '../../../../testing/fuzz.js';
import { dictionary } from './fuzz-targets.js';

it('4,000 damaged chat templates end with text or an error of ours', async () => {
  const module = new URL('./fuzz-targets.ts', import.meta.url);
  const report = await fuzz({ module, target: 'chatTemplate', kind: 'text', count: 4000, from: 200, dictionary });
  console.log(`chat templates: ${report.accepted} rendered, ${report.refused} refused, ${report.faults.length} faults`);
  expect(report.faults).toEqual([]);
  expect(report.accepted).toBeGreaterThan(100);
  expect(report.refused).toBeGreaterThan(1000);
});
