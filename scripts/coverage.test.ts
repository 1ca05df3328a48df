import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Coverage, type CoverageRow, checkCoverage, renderJson, renderMarkdown } from './coverage.js';
import { readJson, root } from './workspace.js';

const file = join(root, 'docs', 'coverage.json');
const coverage = readJson<Coverage>(file);

const row: CoverageRow = {
  id: 'A1',
  name: 'nearest name',
  package: 'interfaces',
  status: 'implemented',
  export: 'nearestName',
  test: 'packages/interfaces/test/interfaces.test.ts',
};

const check = (...rows: unknown[]) =>
  checkCoverage(root, { source: '', sections: { A: 'a' }, methods: rows as CoverageRow[] });

describe('docs/coverage.json', () => {
  it('tells the truth: every export and every test that it names exists', async () => {
    expect(await checkCoverage(root, coverage)).toEqual([]);
  });

  it('lists every method of the survey map', () => {
    const count = (letter: string) => coverage.methods.filter(({ id }) => id.startsWith(letter)).length;
    const perSection = Object.fromEntries(Object.keys(coverage.sections).map((letter) => [letter, count(letter)]));
    // The survey map's own counts: its ids are consecutive in each section.
    const surveyMap = {
      A: 19,
      B: 12,
      C: 16,
      D: 35,
      E: 22,
      F: 22,
      G: 9,
      H: 18,
      I: 26,
      J: 15,
      K: 20,
      L: 20,
      M: 23,
      N: 15,
    };
    expect(perSection).toEqual(surveyMap);
  });

  it('is rendered: run `npm run coverage` when this fails', () => {
    expect(readFileSync(file, 'utf8')).toBe(renderJson(coverage));
    expect(readFileSync(join(root, 'docs', 'coverage.md'), 'utf8')).toBe(renderMarkdown(coverage));
  });
});

describe('checkCoverage', () => {
  it('accepts rows that are true', async () => {
    const partial = { ...row, id: 'A2', status: 'partial', note: 'no weights' };
    const absent = { id: 'A3', name: 'x', package: 'interfaces', status: 'not implemented' };
    expect(await check(row, partial, absent)).toEqual([]);
  });

  it.each([
    ['an export that does not exist', { ...row, export: 'nearestNames' }, 'does not export nearestNames'],
    ['a member that does not exist', { ...row, export: 'nearestName.deep' }, 'does not export'],
    ['no export', { ...row, export: undefined }, 'does not export'],
    ['a test that does not exist', { ...row, test: 'packages/interfaces/test/no.test.ts' }, 'does not exist'],
    ['a test that is not one', { ...row, test: 'package.json' }, 'not a *.test.ts'],
    ['a partial row without a note', { ...row, status: 'partial' }, 'what is missing'],
    ['an absent method with an export', { ...row, status: 'not implemented' }, 'no export and no test'],
    ['an unknown status', { ...row, status: 'done' }, 'status must be'],
    ['an unknown key', { ...row, exports: 'x' }, 'unknown key exports'],
    ['an unknown package', { ...row, package: 'nothing' }, 'no package nothing'],
    ['an unknown section', { ...row, id: 'Z1' }, 'known section'],
  ])('rejects %s', async (_, wrong, message) => {
    expect((await check(wrong)).join()).toContain(message);
  });

  it('rejects an id listed twice', async () => {
    expect((await check(row, row)).join()).toContain('twice');
  });
});

describe('renderMarkdown', () => {
  it('escapes bars and shows notes, exports and tests', () => {
    const methods = [{ ...row, name: 'a|b', status: 'partial' as const, note: 'no c' }];
    const text = renderMarkdown({ source: 's', sections: { A: 'a' }, methods });
    expect(text).toContain(`| A1 | a\\|b | interfaces | partial: no c | \`nearestName\` | \`${row.test}\` |`);
    expect(text).toContain('1 methods: 0 implemented, 1 partial, 0 not implemented.');
  });
});
