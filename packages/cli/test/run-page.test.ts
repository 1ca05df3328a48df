import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../../../scripts/chromium.mjs';
import { posttrain } from '../src/index.js';
import { comparisonSection } from '../src/page/comparison.js';
import { speedPlots } from '../src/page/curves.js';
import { readRun } from '../src/page/read-run.js';
import type { RunRecord } from '../src/page/run-record.js';
import { durationOf, runReport } from '../src/page/run-report.js';
import { samplesOf } from '../src/page/samples.js';
import { serveRunPage } from '../src/page/serve-run-page.js';

const folder = mkdtempSync(join(tmpdir(), 'posttrain-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => join(folder, ...names);
const model = join(import.meta.dirname, '../../../examples/pretrain-tiny/model');
const jsonl = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const HOSTILE = '</script><script>globalThis.pwned = 1</script><img src=x onerror="globalThis.pwned = 1">';
const rows = jsonl(
  'rows.jsonl',
  [1, 2, 3, 4].map((a) => ({ prompt: `${a}+2`, completion: `#### ${a + 2} ${a === 1 ? HOSTILE : ''}` })),
);
const prompts = jsonl('prompts.jsonl', [{ prompt: [{ role: 'user', content: '1+2' }], answer: '3' }]);

async function run(...given: readonly string[]) {
  let [out, err] = ['', ''];
  const print = (text: string) => {
    out += text;
  };
  const complain = (text: string) => {
    err += text;
  };
  const code = await posttrain(given, { print, complain, environment: {} });
  return { code, out, err };
}
const recordOf = (name: string) => JSON.parse(readFileSync(at(name, 'run.json'), 'utf8')) as RunRecord;
const sft = (name: string, ...more: string[]) =>
  run(
    'sft',
    model,
    rows,
    at(name),
    '--evaluation-rows',
    rows,
    '--steps',
    '4',
    '--batch-size',
    '2',
    '--evaluate-every',
    '2',
    ...['--adapter', 'lora', '--learning-rate', '0.01'],
    ...more,
  );

beforeAll(async () => {
  for (const seed of ['1', '2']) expect((await sft(`sft-${seed}`, '--seed', seed)).code).toBe(0);
  const sampled = ['--steps', '2', '--prompts-per-step', '1', '--completions-per-prompt', '2'];
  const grpo = await run(
    'grpo',
    model,
    prompts,
    at('grpo'),
    '--rewards.right',
    'exact-match',
    ...sampled,
    '--max-completion-length',
    '6',
    '--samples',
    '1',
  );
  expect(grpo.code, grpo.err).toBe(0);
}, 120_000);

describe('a run writes down', () => {
  it('what was asked, with what, how long it took and how it ended', () => {
    const { command, options, seed, versions, hardware, steps, attempts, samples, isHeldOut } = recordOf('sft-1');
    expect({ command, seed, steps, isHeldOut }).toEqual({ command: 'sft', seed: 1, steps: 4, isHeldOut: true });
    expect(options).toMatchObject({ model, batchSize: 2, adapter: 'lora', learningRate: 0.01 });
    expect([versions.node, Object.keys(hardware)]).toEqual([process.versions.node, ['system', 'processor', 'memory']]);
    expect(attempts).toEqual([
      {
        from: 0,
        started: expect.stringMatching(/^\d{4}-/),
        seconds: expect.any(Number),
        exit: { kind: 'finished', reason: 'It came to its end.' },
      },
    ]);
    expect(samples).toHaveLength(4);
    // As the model itself says it, to the letter, and otherwise after the training.
    expect(samples[0]).toMatchObject({ prompt: '1+2', target: `#### 3 ${HOSTILE}`, before: expect.any(String) });
    expect(samples.some(({ before, after }) => before !== after)).toBe(true);
    const times = readFileSync(at('sft-1', 'times.jsonl'), 'utf8').trim().split('\n');
    expect(times).toHaveLength(readFileSync(at('sft-1', 'metrics.jsonl'), 'utf8').trim().split('\n').length);
  });

  it('nothing where it is refused before its first step, and its own words where it fails', async () => {
    expect((await sft('sft-1')).code).toBe(1);
    expect(recordOf('sft-1').attempts).toHaveLength(1);
    expect((await sft('refused', '--best-metric', 'nothing', '--keep-best')).code).toBe(1);
    expect(recordOf('refused').attempts[0]!.exit).toMatchObject({
      kind: 'failed',
      reason: expect.stringContaining('nothing'),
    });
    expect(readFileSync(at('refused', 'run.html'), 'utf8')).toContain('It failed');
  });

  it('a second attempt beside the first, with the samples from before it', async () => {
    cpSync(at('sft-2'), at('longer'), { recursive: true });
    const more = await run(
      'sft',
      model,
      rows,
      at('longer'),
      '--evaluation-rows',
      rows,
      ...['--steps', '6', '--batch-size', '2', '--evaluate-every', '2', '--adapter', 'lora'],
      ...['--learning-rate', '0.01', '--seed', '2', '--resume', '--allow-changed', '[steps]'],
    );
    expect(more.code, more.err).toBe(0);
    const [first, second] = [recordOf('sft-2'), recordOf('longer')];
    expect(second.attempts.map(({ from }) => from)).toEqual([0, 4]);
    expect(second.samples.map(({ before }) => before)).toEqual(first.samples.map(({ before }) => before));
    expect(durationOf(await readRun(at('longer')))).toBeCloseTo(
      second.attempts[0]!.seconds! + second.attempts[1]!.seconds!,
      6,
    );
  });
});

it('samples are of every format of rows, with the right answer where a row has one', () => {
  const chat = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ];
  const all = [
    { text: 'no problem' },
    { prompt: 'p', completion: 'c' },
    { prompt: chat.slice(0, 1), chosen: chat.slice(1), rejected: 'x' },
    { messages: chat },
    { prompt: 'q' },
    { prompt: 'r', answer: 3 },
  ];
  expect(samplesOf(all, 9)).toEqual([
    { prompt: 'p', target: 'c' },
    { prompt: chat.slice(0, 1), target: 'b' },
    { prompt: chat.slice(0, 1), target: 'b' },
    { prompt: 'q' },
    { prompt: 'r', target: '3' },
  ]);
  expect(samplesOf(all, 1)).toHaveLength(1);
});

it('speed is of steps, without evaluations, compilation and what lies between attempts', () => {
  const log = [1, 2, 3, 4].map((n) => ({ step: n - 1, metrics: { num_tokens: 100 * n } }));
  const time = (step: number, seconds: number, attempt: number, isEvaluation = false) => ({
    step,
    seconds,
    attempt,
    isEvaluation,
  });
  const times = [time(0, 9, 0), time(1, 11, 0), time(1, 19, 0, true), time(2, 20, 0), time(3, 5, 1)];
  // 100 tokens in 2 s, and in 1 s after the evaluation.
  expect(speedPlots({ log, times })[0]!.series[0]!.points).toEqual([
    { x: 2, y: 50 },
    { x: 3, y: 100 },
  ]);
});

it('comparisons say what seeds can and cannot show', async () => {
  const [one, two, grpo] = await Promise.all(['sft-1', 'sft-2', 'grpo'].map((name) => readRun(at(name))));
  const same = comparisonSection([one!, two!]);
  expect(same.blocks[0]).toMatchObject({ rows: [{ arm: 'sft-1', runs: 2 }] });
  const arm = (name: string, rate: number, losses: readonly number[]) =>
    losses.map((loss, i) => ({
      ...one!,
      name: `${name}-${i}`,
      log: [{ step: 0, metrics: { loss } }],
      record: { ...one!.record!, options: { learningRate: rate, seed: i } },
    }));
  const texts = (...of: Parameters<typeof comparisonSection>) => JSON.stringify(comparisonSection(...of).blocks);
  expect(texts([...arm('a', 1, [1, 1.1, 0.9]), ...arm('b', 2, [2, 2.1, 1.9])])).toContain(
    'It does not hold 0: b-0 is larger',
  );
  expect(texts([...arm('a', 1, [1, 3, 2]), ...arm('b', 2, [2, 4, 0])])).toContain(
    'these runs do not show which is larger',
  );
  expect(texts([...arm('a', 1, [1]), ...arm('b', 2, [2])])).toContain('Train each with three seeds or more');
  expect(runReport(one!, [grpo!]).sections.map(({ title }) => title)).toContain('Comparison');
});

it('page and watch refuse what is no run, in a line', async () => {
  for (const name of ['page', 'watch']) {
    const { code, err } = await run(name, at('nowhere'));
    expect([code, err]).toEqual([2, expect.stringContaining('there is no metrics.jsonl')]);
  }
  writeFileSync(at('grpo', 'torn.html'), '');
  expect((await run('page', at('grpo'), '--with', at('sft-1'), '--output', at('both.html'))).out).toBe(
    `${at('both.html')}\n`,
  );
  expect(existsSync(at('both.html'))).toBe(true);
});

describe('the server', () => {
  it('answers its own machine only, by its own name, and only where something is new', async () => {
    const { address, close } = await serveRunPage(at('sft-1'));
    const ask = (headers: Record<string, string>, method = 'GET', path = '/') =>
      new Promise<{ status: number; tag: string; body: string }>((resolve, reject) => {
        const request = get(new URL(path, address), { headers, method }, (response) => {
          let body = '';
          response.on('data', (chunk) => {
            body += chunk;
          });
          response.on('end', () => resolve({ status: response.statusCode!, tag: response.headers.etag ?? '', body }));
        });
        request.on('error', reject);
      });
    const first = await ask({});
    expect([first.status, first.body.includes('posttrain sft')]).toEqual([200, true]);
    expect((await ask({ 'if-none-match': first.tag })).status).toBe(304);
    expect((await ask({ host: 'evil.example' })).status).toBe(403);
    expect((await ask({}, 'POST')).status).toBe(405);
    expect((await ask({}, 'GET', '/metrics.jsonl')).status).toBe(404);
    await close();
  });
});

const executablePath = findChromium();
if (!executablePath) console.warn('SKIPPED: the page of a run in a real browser (no Chromium found)');

describe.skipIf(!executablePath)('in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-gpu'] });
  });
  afterAll(() => browser?.close());

  async function open(address: string, options: Parameters<Browser['newPage']>[0] = {}) {
    const page: Page = await browser.newPage(options);
    const complaints: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      if (!request.url().startsWith('data:') && request.url().split('#')[0] !== address) complaints.push(request.url());
    });
    await page.goto(address);
    return { page, complaints };
  }

  it('the file is clicked through, by mouse and keyboard, and asks for nothing', async () => {
    const { page, complaints } = await open(pathToFileURL(at('sft-1', 'run.html')).href, {
      viewport: { width: 1100, height: 900 },
    });
    const titles = await page.locator('h2').allTextContents();
    expect(titles).toEqual([
      'At a glance',
      'Training',
      'Distance and entropy',
      'Lengths and speed',
      'Before and after',
      'Settings',
    ]);
    await page.locator('nav a', { hasText: 'Before and after' }).click();
    expect(new URL(page.url()).hash).toBe('#section-5');
    const example = page.locator('article').first();
    expect(await example.locator('h4').allTextContents()).toEqual([
      'prompt',
      'Target',
      'Before the training ',
      'After it ',
    ]);
    expect(await example.locator('.target pre').textContent()).toContain(HOSTILE);
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
    const loss = page.locator('figure', { hasText: 'Loss' }).first();
    expect(await loss.locator('.legend li').allTextContents()).toEqual(['training', 'held out']);
    await loss.locator('summary').focus();
    await page.keyboard.press('Enter');
    expect(await loss.locator('tbody tr').count()).toBe(4);
    expect(await page.locator('.subtitle').textContent()).toBe('4 of 4 steps are logged. It came to its end.');
    expect(await page.locator('#section-6').textContent()).toContain('batch-size');
    expect(complaints).toEqual([]);
  });

  it.each(['light', 'dark'] as const)('it fits a phone in %s', async (colorScheme) => {
    const { page, complaints } = await open(pathToFileURL(at('grpo', 'run.html')).href, {
      viewport: { width: 360, height: 740 },
      colorScheme,
    });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    expect(await page.locator('h2').allTextContents()).toEqual(expect.arrayContaining(['Rewards', 'What was sampled']));
    expect(await page.locator('#section-1').isVisible()).toBe(true);
    const sampled = page.locator('section', { hasText: 'Completions that the policy learned from' });
    expect(await sampled.locator('h4').allTextContents()).toEqual(
      expect.arrayContaining(['Target', expect.stringContaining('Step 1'), expect.stringContaining('Step 2')]),
    );
    expect(complaints).toEqual([]);
  });

  it('it takes over what is new while the run goes, and keeps what is unfolded and in focus', async () => {
    cpSync(at('sft-1'), at('live'), { recursive: true });
    const { address, close } = await serveRunPage(at('live'));
    const { page, complaints } = await open(address);
    const loss = page.locator('figure', { hasText: 'Loss' }).first();
    await loss.locator('summary').click();
    expect(await loss.locator('tbody tr').count()).toBe(4);
    const line = JSON.stringify({ step: 4, metrics: { loss: 0.125, num_tokens: 999 } });
    writeFileSync(at('live', 'metrics.jsonl'), `${readFileSync(at('live', 'metrics.jsonl'), 'utf8')}${line}\n`);
    await page.locator('.subtitle', { hasText: '5 of 4 steps' }).waitFor();
    expect(await loss.locator('tbody tr').count()).toBe(5);
    expect(await loss.locator('details').getAttribute('open')).not.toBeNull();
    expect(await page.evaluate('document.activeElement.tagName')).toBe('SUMMARY');
    expect(complaints).toEqual([]);
    await page.evaluate(
      "document.body.append(Object.assign(document.createElement('script'), { textContent: 'globalThis.pwned = 1' }))",
    );
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
    await close();
    await page.locator('#live', { hasText: 'Not live any more' }).waitFor();
  });
});
