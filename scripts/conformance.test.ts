import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { renderConformance } from './conformance.js';
import { root } from './workspace.js';

it('docs/conformance.md is rendered (npx tsx scripts/render-conformance.ts)', () => {
  expect(readFileSync(join(root, 'docs', 'conformance.md'), 'utf8')).toBe(renderConformance(root));
});
