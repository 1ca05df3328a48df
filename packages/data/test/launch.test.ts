import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { findChromium } from '../../../scripts/chromium.mjs';
import { dataCommand } from '../src/command/data-command.js';
import type { RunReport } from '../src/command/page.js';
import {
  completedParts,
  DataFileError,
  exactDeduplicate,
  filter,
  launcherShard,
  mergeParts,
  pipeline,
  readRows,
  writePart,
} from '../src/index.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();

describe('the share that a launcher gives', () => {
  test.each([
    [{}, 0, 1, 'none'],
    [
      { SLURM_ARRAY_TASK_ID: '3', SLURM_ARRAY_TASK_COUNT: '16', SLURM_ARRAY_TASK_MIN: '0', SLURM_ARRAY_TASK_STEP: '1' },
      3,
      16,
      'Slurm array',
    ],
    [
      { SLURM_ARRAY_TASK_ID: '7', SLURM_ARRAY_TASK_COUNT: '4', SLURM_ARRAY_TASK_MIN: '5', SLURM_PROCID: '0' },
      2,
      4,
      'Slurm array',
    ],
    [
      { SLURM_ARRAY_TASK_ID: '1', SLURM_ARRAY_TASK_COUNT: '2', SLURM_PROCID: '2', SLURM_NTASKS: '3' },
      5,
      6,
      'Slurm array',
    ],
    [
      {
        ...{ SLURM_ARRAY_TASK_ID: '1', SLURM_ARRAY_TASK_COUNT: '2', SLURM_PROCID: '0', SLURM_NTASKS: '4' },
        ...{ OMPI_COMM_WORLD_RANK: '3', OMPI_COMM_WORLD_SIZE: '4' },
      },
      7,
      8,
      'Slurm array',
    ],
    [{ SLURM_PROCID: '2', SLURM_NTASKS: '8', SLURM_JOB_ID: '11' }, 2, 8, 'Slurm'],
    [{ OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '2', SLURM_PROCID: '0', SLURM_NTASKS: '1' }, 1, 2, 'Open MPI'],
    [{ PMI_RANK: '3', PMI_SIZE: '4' }, 3, 4, 'MPICH'],
    [{ JOB_COMPLETION_INDEX: '4', JOB_COMPLETIONS: '5' }, 4, 5, 'Kubernetes Indexed Job'],
    [{ RANK: '0', WORLD_SIZE: '2' }, 0, 2, 'torchrun'],
  ])('%j', (environment, rank, world, launcher) => {
    expect(launcherShard(environment)).toEqual({ rank, world, launcher });
  });

  test.each([
    [{ JOB_COMPLETION_INDEX: '4' }, /JOB_COMPLETIONS of Kubernetes.*spec\.completions/],
    [{ PMI_RANK: '4', PMI_SIZE: '4' }, /PMI_RANK of MPICH is 4, and PMI_SIZE is 4/],
    [{ PMI_RANK: 'x', PMI_SIZE: '4' }, /must be a whole number/],
    [{ OMPI_COMM_WORLD_SIZE: '4' }, /OMPI_COMM_WORLD_RANK is missing/],
    [
      { SLURM_ARRAY_TASK_ID: '8', SLURM_ARRAY_TASK_COUNT: '4', SLURM_ARRAY_TASK_MIN: '0', SLURM_ARRAY_TASK_STEP: '4' },
      /step of 4/,
    ],
    [{ SLURM_ARRAY_TASK_ID: '9', SLURM_ARRAY_TASK_COUNT: '2', SLURM_ARRAY_TASK_MIN: '0' }, /must be whole/],
  ])('%j is refused', (environment, message) => {
    expect(() => launcherShard(environment)).toThrow(message);
  });
});

describe('part files', () => {
  const rows = Array.from({ length: 90 }, (_, i) => ({ i, text: `text ${i % 60}` }));
  const make = (rank: number, world: number) =>
    pipeline(rows, [filter('even', (row: { i: number }) => row.i % 2 === 0), exactDeduplicate()], {
      shards: { rank, world },
      workFolder: path('work'),
    });

  test('of all ranks are what one process makes, merged, with the reports added up', async () => {
    const world = 3;
    const all = Array.from({ length: world }, (_, rank) =>
      writePart(path('out'), { rank, world }, 'jsonl.zst', () => make(rank, world)),
    );
    await Promise.all(all);
    const { written, reports } = await mergeParts(path('out'), world, path('merged.jsonl'));
    const one = pipeline(rows, [filter('even', (row: { i: number }) => row.i % 2 === 0), exactDeduplicate()]);
    const expected = await one.collect();
    const merged = (await collect(readRows(path('merged.jsonl')))) as { i: number }[];
    expect(merged.toSorted((a, b) => a.i - b.i)).toEqual(expected);
    expect(written.rows).toBe(expected.length);
    expect(reports).toEqual(one.report());
    expect(readdirSync(path('out')).filter((name) => name.startsWith('part'))).toEqual(
      [0, 1, 2].map((rank) => `part-0000${rank}-of-00003.jsonl.zst`),
    );
  });

  test('a part that is complete is not made again; one that is gone, cut or missing is', async () => {
    let made = 0;
    const write = (rank: number) =>
      writePart(path('out'), { rank, world: 2 }, 'jsonl', () => {
        made++;
        return pipeline(rows, [], { shards: { rank, world: 2 } });
      });
    expect((await write(0)).wasComplete).toBe(false);
    expect((await write(0)).wasComplete).toBe(true);
    expect(made).toBe(1);
    expect((await errorOf(() => completedParts(path('out'), 2))).message).toMatch(
      /1 of 2 parts are not complete: ranks 1/,
    );
    await write(1);
    const file = path('out', 'part-00001-of-00002.jsonl');
    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, 100));
    expect(await errorOf(() => mergeParts(path('out'), 2, path('m.jsonl')))).toBeInstanceOf(DataFileError);
    expect((await write(1)).wasComplete).toBe(false);
    expect(readFileSync(file).equals(whole)).toBe(true);
    rmSync(file);
    expect((await errorOf(() => mergeParts(path('out'), 2, path('m.jsonl')))).message).toMatch(/part 1 of 2 is gone/);
  });

  test('another ending leaves nothing ambiguous, and a marker that is none says so', async () => {
    const write = (extension: string) =>
      writePart(path('two'), { rank: 0, world: 1 }, extension, () => pipeline(rows, []));
    for (const extension of ['jsonl', 'jsonl.gz']) await write(extension);
    expect((await mergeParts(path('two'), 1, path('m.jsonl'))).written.rows).toBe(rows.length);
    writeFileSync(path('two', 'completions', '00000-of-00001.json'), 'null');
    expect((await errorOf(() => write('jsonl'))).message).toMatch(/is damaged: it is no marker of a part/);
  });

  test('a process that is killed anywhere and started again gives the same bytes', async () => {
    const script = path('job.mjs');
    const index = new URL('../src/index.ts', import.meta.url).href;
    writeFileSync(
      script,
      `import { exactDeduplicate, launcherShard, pipeline, writePart } from ${JSON.stringify(index)};
const { rank, world } = launcherShard();
async function* rows() {
  for (let i = 0; i < 400; i++) { if (i % 40 === 0) await new Promise((r) => setTimeout(r, 25)); yield { i, text: 'text ' + (i % 300) }; }
}
await writePart(process.argv[2], { rank, world }, 'jsonl.zst', () => pipeline(rows, [exactDeduplicate()], { shards: { rank, world }, workFolder: process.argv[3] }));
`,
    );
    const start = (out: string, killAfter?: number) =>
      new Promise<number | null>((resolve) => {
        const child = spawn(process.execPath, ['--import', 'tsx', script, path(out), path(`${out}-work`)], {
          env: { ...process.env, PMI_RANK: '0', PMI_SIZE: '1' },
          stdio: 'ignore',
        });
        if (killAfter !== undefined) setTimeout(() => child.kill('SIGKILL'), killAfter);
        child.on('exit', (code) => resolve(code));
      });
    expect(await start('plain')).toBe(0);
    for (const milliseconds of [700, 1100, 1400]) await start('killed', milliseconds);
    expect(await start('killed')).toBe(0);
    const part = 'part-00000-of-00001.jsonl.zst';
    expect(readFileSync(path('killed', part)).equals(readFileSync(path('plain', part)))).toBe(true);
    expect(readdirSync(path('killed')).sort()).toEqual(['completions', part]);
  }, 60_000);
});

describe('the command line', () => {
  const TEXT =
    'The cat that sat with the dog on the mat is not the one that we have seen in the garden of the old house. ';
  const run = async (args: readonly string[], environment: Readonly<Record<string, string>> = {}) => {
    const [printed, complained]: [string[], string[]] = [[], []];
    const status = await dataCommand(args, {
      print: (text) => printed.push(text),
      complain: (text) => complained.push(text),
      environment,
    });
    return { status, printed: printed.join(''), complained: complained.join('') };
  };
  const pipelineFile = (more = '') => {
    writeFileSync(
      path('in.jsonl'),
      Array.from({ length: 40 }, (_, i) =>
        JSON.stringify({ id: i, text: i % 4 === 0 ? `<script>alert(${i})</script>` : TEXT.repeat(3) + (i % 8) }),
      ).join('\n'),
    );
    const file = path('pipeline.yaml');
    writeFileSync(
      file,
      `input: ${path('in.jsonl')}
steps:
  - gopherQuality: { minDocWords: 20 }
  - exactDeduplicate
output: ${path('out')}${more}
report: ${path('report.json')}
page: ${path('page.html')}
`,
    );
    return file;
  };

  test('runs a pipeline of a file, and reports what it kept and dropped, with examples and statistics', async () => {
    const { status, printed, complained } = await run(['run', pipelineFile('.jsonl.zst')]);
    expect(complained).toMatch(/40 rows read/);
    expect([status, printed]).toEqual([0, expect.stringMatching(/gopher quality[\s\S]*6 rows in .*out.jsonl.zst/)]);
    const rows = await collect(readRows(path('out.jsonl.zst')));
    expect(rows.map(({ id }) => id)).toEqual([1, 2, 3, 5, 6, 7]);
    const report = JSON.parse(readFileSync(path('report.json'), 'utf8')) as RunReport;
    expect([report.before.rows, report.after.rows]).toEqual([40, 6]);
    expect(report.after.characters).toBe(rows.reduce((sum, { text }) => sum + String(text).length, 0));
    expect(report.before.histogram.reduce((a, b) => a + b)).toBe(40);
    expect(report.steps.map(({ step, dropped }) => [step, dropped])).toEqual([
      ['gopher quality', 10],
      ['exact deduplicate', 24],
    ]);
    expect(report.examples).toHaveLength(6);
    expect(report.examples[0]).toMatchObject({
      reason: 'gopher_short_doc',
      id: '0',
      text: '<script>alert(0)</script>',
    });
  });

  test('under a launcher each process writes its part, and merge makes them one', async () => {
    const file = pipelineFile(`\nworkFolder: ${path('work')}`);
    const ranks = [0, 1].map((rank) => run(['run', file], { PMI_RANK: String(rank), PMI_SIZE: '2' }));
    for (const { status } of await Promise.all(ranks)) expect(status).toBe(0);
    expect((await run(['run', file], { PMI_RANK: '1', PMI_SIZE: '2' })).printed).toMatch(/part 1 of 2 is complete/);
    expect((await run(['merge', file, '--world', '2'])).printed).toMatch(/6 rows in .*out\.jsonl\.zst/);
    const ids = (await collect(readRows(path('out.jsonl.zst')))).map(({ id }) => id as number);
    expect(ids.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 5, 6, 7]);
    expect((await run(['merge', file, '--world', '3'])).complained).toMatch(/3 of 3 parts are not complete/);
    // Parts of another pipeline are not taken for those of this one, nor merged with them.
    writeFileSync(file, readFileSync(file, 'utf8').replace('  - exactDeduplicate\n', ''));
    const changed = await run(['run', file], { PMI_RANK: '1', PMI_SIZE: '2' });
    expect(changed.complained).toMatch(
      /was made otherwise: step 2 was exact deduplicate.*Delete the folder, or give another/,
    );
    rmSync(path('out', 'part-00001-of-00002.jsonl.zst'));
    expect((await run(['run', file], { PMI_RANK: '1', PMI_SIZE: '2' })).status).toBe(0);
    expect((await run(['merge', file, '--world', '2'])).complained).toMatch(/part 1 was made otherwise than part 0/);
  });

  test.each([
    ['input: a.jsonl\noutput: b.jsonl\nstep: []', /p\.yaml:3: there is no key "step"\. Did you mean "steps"\?/],
    ['input: a.jsonl\nsteps: []', /p\.yaml:1: "output" is missing/],
    ['output: b.jsonl', /"input" is missing/],
    ['input: { path: a, splt: x }\noutput: b', /p\.yaml:1: "input" has no key "splt"\. Did you mean "split"/],
    [
      'input: a\noutput: b\nsteps:\n  - take: 3\n  - gopherQualty',
      /p\.yaml:5: step 2: there is no step "gopherQualty"\. Did you mean "gopherQuality"/,
    ],
    [
      'input: a\noutput: b\nsteps:\n  - gopherQuality: { minDocWord: 3 }',
      /p\.yaml:4: step 1: gopherQuality.*minDocWord.*minDocWords/,
    ],
    ['input: a\noutput: b\nsteps:\n  - exactDeduplicate: { by: page }', /p\.yaml:4: step 1: .*document/],
    ['input: a\noutput: b\nsteps: gopherQuality', /p\.yaml:3: "steps" must be a list/],
    ['input: a\noutput: b\nseed: x', /p\.yaml:3: "seed" must be a whole number/],
    ['input: [a', /p\.yaml:1: is no YAML/],
    ['input: nothing.jsonl\noutput: b.jsonl', /no such file or folder/],
  ])('refuses %j with its place', async (text, message) => {
    writeFileSync(path('p.yaml'), text);
    const { status, complained } = await run(['run', path('p.yaml')]);
    expect([status, complained]).toEqual([1, expect.stringMatching(message)]);
  });

  test('helps', async () => {
    expect((await run(['--help'])).printed).toMatch(/run {4}reads/);
    expect((await run(['steps'])).printed).toContain('minhashDeduplicate');
    expect(await run(['rum', 'x'])).toMatchObject({ status: 1, complained: expect.stringContaining('--help') });
    expect(await run(['run', '--wrld', '2'])).toMatchObject({ status: 1 });
  });

  const executablePath = findChromium();
  const reason = executablePath ? '' : ' (skipped: no Chromium found: install one, or name it in CHROMIUM_PATH)';
  test.skipIf(!executablePath)(
    `its page in a real browser${reason}`,
    async () => {
      await run(['run', pipelineFile('.jsonl')]);
      const browser = await chromium.launch({
        executablePath: executablePath!,
        args: ['--no-sandbox', '--disable-gpu'],
      });
      try {
        const page = await browser.newPage({ viewport: { width: 900, height: 800 } });
        const complaints: string[] = [];
        page.on('console', (message) => complaints.push(message.text()));
        page.on('pageerror', (error) => complaints.push(error.message));
        page.on('dialog', (dialog) => complaints.push(dialog.message()));
        page.on('request', (request) =>
          complaints.push(...(/^(file|data):/.test(request.url()) ? [] : [request.url()])),
        );
        await page.goto(pathToFileURL(path('page.html')).href, { waitUntil: 'load' });
        expect(await page.locator('h2').allTextContents()).toEqual([
          'Before and after',
          'Steps',
          'Examples of dropped rows',
        ]);
        expect(await page.locator('table').count()).toBe(4);
        expect(await page.locator('pre').first().textContent()).toBe('<script>alert(0)</script>');
        expect(await page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')).toBe(true);
        expect(complaints).toEqual([]);
      } finally {
        await browser.close();
      }
    },
    60_000,
  );
});
