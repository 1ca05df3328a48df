import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dpoOptions, policyOptions } from '../packages/rl/src/index.js';
import {
  distillOptions,
  rewardModelOptions,
  sftOptions,
  stepByStepOptions,
  TRL_NAMES,
  TRL_REMARKS,
} from '../packages/training/src/index.js';
import { anchorOf } from '../site/anchors.js';
import { renderConformance } from './conformance.js';
import { type Coverage, type CoverageRow, checkCoverage, renderJson, renderMarkdown } from './coverage.js';
import { renderDescriptions, renderPeftMethods, renderRunning, renderTrlNames } from './option-docs.js';
import { checkParadigms, readTaxonomies, renderParadigms } from './paradigms.js';
import { RECIPES, readInterval, readResults, renderRecipes } from './recipes.js';
import { renderStrategyOptions } from './strategy-docs.js';
import { listTrackedFiles, readJson, root } from './workspace.js';

it('docs/conformance.md is rendered (npx tsx scripts/render-conformance.ts)', () => {
  expect(readFileSync(join(root, 'docs', 'conformance.md'), 'utf8')).toBe(renderConformance(root));
});

/** Headings of a Markdown file as GitHub names them in links. */
const anchorsOf = (markdown: string): Set<string> =>
  new Set([...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!)));

it('docs/nouns.md names what is there', () => {
  const known = ['api.md', 'running.md', 'rl/objectives.md'].map((name) => read(name)).join('\n');
  const cells = [...read('nouns.md').matchAll(/^\|[^|]*\|([^|]*)\|/gm)].map(([, cell]) => cell!);
  const names = cells.flatMap((cell) => [...cell.matchAll(/`([a-zA-Z]\w*)(?=[`.(])/g)].map(([, name]) => name!));
  expect(names.length).toBeGreaterThan(30);
  // Parts of declared options, and a trainer's method.
  const parts = new Set(['optimStep', 'quantization', 'filters', 'metrics']);
  expect(names.filter((name) => !parts.has(name) && !known.includes(`\`${name}`))).toEqual([]);
});

describe('the index of recipes', () => {
  it('is rendered from the pages of the recipes (npx tsx scripts/render-recipes.ts)', () => {
    for (const [path, text] of renderRecipes(root)) expect(readFileSync(join(root, path), 'utf8'), path).toBe(text);
  });

  it.each(RECIPES.map(({ name, command }) => [name, command]))(
    '%s is started by a file that is there',
    (_, command) => {
      expect(existsSync(join(root, command.split(' ')[2]!))).toBe(true);
    },
  );

  it.each([
    ['0.47 [0.13, 0.81]', { value: 0.47, low: 0.13, high: 0.81 }],
    ['54 ± 8 %', { value: 54, low: 46, high: 62 }],
    ['-1.5 [-2, -1] of 3 [1, 5]', { value: -1.5, low: -2, high: -1 }],
    ['0.5', undefined],
    ['', undefined],
  ])('reads the interval of %j', (cell, interval) => {
    expect(readInterval(cell)).toEqual(interval);
  });

  it('refuses a table that is not there', () => {
    const recipe = { name: 'x', page: 'x.md', heading: 'none', command: '' };
    expect(() => readResults('# a\n', recipe)).toThrow('examples/x.md has no table');
    const others =
      '## none\n\n### below\n\nNothing yet.\n\n## other\n\n| arm | right |\n| --- | --- |\n| a | 1 [0, 2] |\n';
    expect(() => readResults(others, recipe)).toThrow('examples/x.md has no table');
    expect(readResults(others.replace('## other', '### other'), recipe).bars).toHaveLength(1);
  });
});

/** Links of a page that lead nowhere: to a file that is not there, or to a heading that no file has. */
function deadLinks(path: string): string[] {
  const file = join(root, path);
  const text = readFileSync(file, 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...text.matchAll(/\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)/g)].flatMap(([, target = '', anchor]) => {
    const there = target === '' ? file : join(dirname(file), target);
    if (!existsSync(there)) return [`${path}: ${target}`];
    if (anchor === undefined || !there.endsWith('.md')) return [];
    return anchorsOf(readFileSync(there, 'utf8')).has(anchor) ? [] : [`${path}: ${target}#${anchor}`];
  });
}

it('every link of a Markdown page leads somewhere', (context) => {
  const pages = listTrackedFiles()?.filter((path) => path.endsWith('.md') && !path.startsWith('.changeset'));
  if (!pages) return context.skip('not a git checkout');
  expect(pages.filter((path) => existsSync(join(root, path))).flatMap(deadLinks)).toEqual([]);
});

const read = (name: string) => readFileSync(join(root, 'docs', name), 'utf8');
const RENDER = 'run npx tsx scripts/render-option-docs.ts';

describe('the pages about options', () => {
  it('are what the declarations say', () => {
    expect(read('running.md'), RENDER).toBe(renderRunning(read('running.md')));
    expect(read('trl-names.md'), RENDER).toBe(renderTrlNames());
    expect(read('peft/methods.md'), RENDER).toBe(renderPeftMethods());
    expect(read('tts/options.md'), RENDER).toBe(renderStrategyOptions());
    expect(read('../packages/cli/src/options/descriptions.ts'), RENDER).toBe(renderDescriptions());
  });

  it('have every option of every trainer, and nothing that none has', () => {
    const rows = [...read('running.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    const trainers = [sftOptions, rewardModelOptions, distillOptions, stepByStepOptions, dpoOptions, policyOptions];
    const shapes = trainers.map(({ shape }) => shape);
    expect([...new Set(rows)].sort()).toEqual([...new Set(shapes.flatMap((shape) => Object.keys(shape)))].sort());
  });

  it('name options of ours only, and no name of theirs twice', () => {
    const shapes = [sftOptions.shape, dpoOptions.shape, policyOptions.shape] as const;
    const unknown = Object.values(TRL_NAMES).filter((ours) => !shapes.some((shape) => Object.hasOwn(shape, ours)));
    expect(unknown).toEqual([]);
    expect(Object.keys(TRL_NAMES).filter((name) => name in TRL_REMARKS)).toEqual([]);
  });

  it.each(['eval_steps', 'evalSteps', 'load_best_model_at_end', 'gradient_accumulation_steps', 'warmupRatio'])(
    'are what the error about %s says',
    (name) => {
      const given = { [name]: 1 } as never;
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const said = TRL_REMARKS[snake] ?? `It is called "${TRL_NAMES[snake]}" here.`;
      for (const one of [sftOptions, rewardModelOptions, distillOptions, dpoOptions, policyOptions]) {
        expect(() => one.read(given)).toThrow(`unknown option "${name}". ${said}`);
      }
    },
  );
});

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

it('docs/doors.md says of every row that is missing which door it goes through, and of none that is there', () => {
  const [table] = readFileSync(join(root, 'docs', 'doors.md'), 'utf8').split('## What does not fit yet');
  const listed = [...table!.matchAll(/^\| ([A-Z]\d+) \|/gm)].map(([, id]) => id!);
  const { methods } = readJson<Coverage>(join(root, 'docs', 'coverage.json'));
  const missing = methods.flatMap(({ id, status }) => (status === 'not implemented' ? [id] : []));
  const there = methods.flatMap(({ id, status }) => (status === 'not implemented' ? [] : [id]));
  expect(missing.filter((id) => !listed.includes(id))).toEqual([]);
  expect(there.filter((id) => listed.includes(id))).toEqual([]);
});

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
    const page = readFileSync(join(root, 'docs', 'eval', 'paradigms.md'), 'utf8');
    expect(page).toBe(renderParadigms(coverage, readTaxonomies(root)));
  });

  it('has every row in a class of a survey, and no class with rows that are not there', () => {
    const taxonomies = readTaxonomies(root);
    expect(checkParadigms(coverage, taxonomies)).toEqual([]);
    expect(taxonomies.map(({ classes }) => classes.length)).toEqual([5, 4]);
    const more = { ...coverage, methods: [...coverage.methods, { ...row, id: 'A99' }, { ...row, id: 'Z1' }] };
    // A section takes what is added to it; a row of a section that is listed by number is missed.
    expect(checkParadigms(more, taxonomies)).toEqual([
      'docs/paradigms.json: A99 nearest name is in no class',
      'docs/paradigms.json: Z1 nearest name is in no class',
    ]);
    const [first] = taxonomies;
    const beyond = [...taxonomies, { ...first!, classes: [{ name: 'x', rows: ['A18-A25', 'Q'] }] }];
    expect(checkParadigms(coverage, beyond)).toHaveLength(2);
    const lines = renderParadigms(coverage, taxonomies);
    expect(lines).toContain('| D12 | DPO | implemented |');
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
