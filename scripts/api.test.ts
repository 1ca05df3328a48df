import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { publicNames, renderApi, undocumented } from './api.js';
import { root } from './workspace.js';

it('every public name has a docstring, and docs/api.md is current (npm run api)', () => {
  const entries = publicNames(root);
  expect(undocumented(entries)).toEqual([]);
  expect(readFileSync(join(root, 'docs', 'api.md'), 'utf8')).toBe(renderApi(entries));
});
