import { expect, test } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import { DICTIONARY, FORMATS } from './fuzz-targets.js';

const module = new URL('fuzz-targets.ts', import.meta.url);

test.each(FORMATS)('5,000 more mutants of $target', async (format) => {
  const report = await fuzz({ module, ...format, from: 200, count: 5000, dictionary: DICTIONARY });
  console.log(
    `fuzz data ${format.target}: ${report.accepted} accepted, ${report.refused} refused, ${report.faults.length} faults`,
  );
  expect(describeFaults(report)).toBe('');
});
