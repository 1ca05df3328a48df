import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Budgets, overBudget } from './budgets.js';
import { touchedBy } from './changed.mjs';
import { linesOfDeclarations, overReadingBudget } from './reading.js';
import { summarize } from './results-reporter.js';
import { secondsByPackage, secondsTable } from './seconds.mjs';

const budgets: Omit<Budgets, 'reading'> = {
  testFiles: 2,
  goldenKilobytes: 100,
  goldensMegabytes: 1,
  studyKilobytes: 200,
  seconds: { lm: 10, 'everything else': 5 },
  largerGoldens: { 'goldens/old.safetensors': 150_000 },
};
const old = { path: 'goldens/old.safetensors', bytes: 150_000 };

describe('overBudget', () => {
  it.each<[string, { path: string; bytes: number }[], string[]]>([
    ['what is within', [{ path: 'packages/a/test/x.test.ts', bytes: 9e6 }], []],
    ['a golden that is larger', [{ path: 'goldens/x/y.json', bytes: 100_001 }], ['goldens/x/y.json: 101 kB']],
    ['one of a package', [{ path: 'packages/a/test/goldens/y.bin', bytes: 2e5 }], ['packages/a/test/goldens/y.bin']],
    ['not the script beside it', [{ path: 'goldens/x/make.py', bytes: 200_000 }], []],
    ['a study', [{ path: 'examples/s/results/a.json', bytes: 200_001 }], ['examples/s/results: 201 kB']],
    [
      'too many tests',
      ['a', 'b', 'c'].map((name) => ({ path: `packages/a/test/${name}.test.ts`, bytes: 1 })),
      ['3 test files'],
    ],
    [
      'all goldens together',
      Array.from({ length: 9 }, (_, i) => ({ path: `goldens/${i}`, bytes: 99_000 })),
      ['goldens: 1.0 MB'],
    ],
  ])('finds %s', (_, files, wanted) => {
    const found = overBudget([old, ...files], budgets);
    expect(found.map((line, i) => line.startsWith(wanted[i] ?? '?'))).toEqual(wanted.map(() => true));
  });

  it('lets an older golden become smaller only, and be forgotten then', () => {
    expect(overBudget([{ ...old, bytes: 150_001 }], budgets)[0]).toMatch(/old.safetensors: 151 kB \(at most 150 kB\)/);
    expect(overBudget([{ ...old, bytes: 90_000 }], budgets)[0]).toMatch(/take it out of largerGoldens/);
  });
});

describe('seconds', () => {
  it('are counted by package and kind, beside the budgets', () => {
    const rows = secondsByPackage(
      [
        { path: 'packages/lm/test/gguf/a.test.ts', seconds: 20 },
        { path: 'packages/lm/test/scorer.golden.test.ts', seconds: 4 },
        { path: 'packages/tts/test/a.test.ts', seconds: 2 },
        { path: 'scripts/pack.test.ts', seconds: 1 },
      ],
      budgets.seconds,
      2,
    );
    expect(secondsTable(rows)).toEqual([
      'lm                 12 s of 10 s  OVER ITS BUDGET  gguf 10, scorer 2',
      'everything else     2 s of 5 s  tts 1, scripts 1',
    ]);
  });
});

describe('the results of a run', () => {
  const fileOf = (name: string, state: string, results: readonly object[]) => ({
    moduleId: join(process.cwd(), name),
    state: () => state,
    errors: () => [],
    diagnostic: () => ({ prepareDuration: 1, collectDuration: 2, setupDuration: 3, duration: 994 }),
    children: { allTests: () => results.map((result, i) => ({ fullName: `t${i}`, result: () => result })) },
  });

  it('name what failed, and the file whose process crashed', () => {
    const passed = { state: 'passed' };
    const failed = { state: 'failed', errors: [new Error('wrong\nat a')] };
    const modules = [
      fileOf('a.test.ts', 'failed', [passed, failed, { state: 'skipped', note: 'no GPU' }]),
      fileOf('b.test.ts', 'pending', [passed, { state: 'pending' }]),
      fileOf('c.test.ts', 'queued', []),
    ];
    const crash = 'its process ended before its tests did';
    expect(summarize(modules as never, [])).toEqual({
      ...{ passed: 2, failed: 3, skipped: [{ test: 'a.test.ts > t2', reason: 'no GPU' }] },
      failures: [
        { test: 'a.test.ts > t1', message: 'wrong' },
        { test: 'b.test.ts', message: crash },
        { test: 'c.test.ts', message: crash },
      ],
      files: ['a', 'b', 'c'].map((name) => ({ path: `${name}.test.ts`, seconds: 1 })),
    });
  });
});

describe('touchedBy', () => {
  const tests = [
    'packages/lm/test/a.slow.test.ts',
    'packages/data/test/b.slow.test.ts',
    'examples/m/c.slow.test.ts',
    'scripts/new/new.slow.test.ts',
  ];
  it.each<[string[], number[]]>([
    [['packages/lm/src/x.ts'], [0]],
    [['packages/lm/README.md'], []],
    [['examples/m/x.ts', 'packages/tts/src/a.ts'], [2]],
    [['testing/fuzz.ts'], [0, 1, 2, 3]],
    [['scripts/new/kinds.ts'], [3]],
    [['packages/tts/src/testing/index.ts'], [3]],
  ])('%j', (changed, wanted) => {
    expect(touchedBy(changed, tests)).toEqual(wanted.map((i) => tests[i]));
  });
});

describe('reading', () => {
  const source =
    '/** Why. */\nexport function a() {\n  return 1;\n}\nconst table = {\n  /** x */\n  b: () =>\n    2,\n};\n';

  it('counts the lines of functions and of entries of objects, without their docstrings', () => {
    expect([...linesOfDeclarations(source, ['a', 'table.b', 'gone'])]).toEqual([
      ['a', 3],
      ['table.b', 2],
    ]);
  });

  it.each([
    ['nothing', 1, 5, 9, []],
    ['too many lines', 1, 4, 9, ['the lines that say GRPO are in 1 files, 5 of them (at most 1 and 4)']],
    ['too many files', 0, 5, 9, ['the lines that say GRPO are in 1 files, 5 of them (at most 0 and 5)']],
    ['a long way', 1, 5, 8, ["the reader's path has 9 lines (at most 8)"]],
  ])('finds %s', (_, files, lines, most, wanted) => {
    const grpo = { files, lines, declarations: { 'a.ts': ['a', 'table.b'] } };
    expect(overReadingBudget({ grpo, path: { lines: most, files: ['a.ts'] } }, () => source)).toEqual(wanted);
  });

  it('finds what is not there', () => {
    const grpo = { files: 1, lines: 9, declarations: { 'a.ts': ['gone'] } };
    const found = overReadingBudget({ grpo, path: { lines: 9, files: [] } }, () => source);
    expect(found).toEqual(['scripts/budgets.json: a.ts has no gone']);
  });
});
