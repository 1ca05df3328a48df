import { expect, test } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import { DICTIONARY, FORMATS } from './fuzz-targets.js';

const module = new URL('fuzz-targets.ts', import.meta.url);

test.each(FORMATS)('200 mutants of $target: rows or a DataFileError, nothing else', async (format) => {
  const report = await fuzz({ module, ...format, count: 200, dictionary: DICTIONARY });
  expect(describeFaults(report)).toBe('');
  expect(report.accepted + report.refused).toBe(200);
  expect(report.refused).toBeGreaterThan(0);
});
