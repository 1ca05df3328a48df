import { describe, expect, it } from 'vitest';
import { FAMILY_TABLES, KEY_TABLES, runPatches } from './key-table.js';

describe.each([...KEY_TABLES, ...FAMILY_TABLES])('every key of config.json: %s', (name) => {
  it('is honoured as by transformers, or refused', async () => {
    const { wrong, refused } = await runPatches(name, ({ same, changed, refused }) => [
      ...same,
      ...changed,
      ...refused,
    ]);
    if (process.env.SHOW) console.log(name, refused);
    expect(wrong).toEqual([]);
  });
});
