// How long the page of `writeViewer` takes with 100,000 logged problems: written, opened in Chromium until it can be used, and filtered. `npx tsx benchmarks/viewer.ts [problems]`
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type EvalResult, type GenerateProblem, meanScore, sampleMetrics, writeViewer } from '@posttrain/eval';
import { createRandom } from '@posttrain/interfaces/random';
import { chromium } from 'playwright-core';
import { findChromium } from '../packages/eval/test/browser.js';

const count = Number(process.argv[2] ?? 100_000);
const executablePath = findChromium();
if (!executablePath) throw new Error('no Chromium found: install one, or name it in CHROMIUM_PATH');

const random = createRandom(0);
const words = (number: number): string =>
  Array.from({ length: number }, () => `word${random.integer(0, 999)}`).join(' ');
const problems = Array.from({ length: count }, (_, i): GenerateProblem => {
  const right = random.float() < 0.6;
  return {
    ...{ type: 'problem', id: `problem-${i}`, requestHash: 'x'.repeat(64), seed: i, seconds: 0.1 },
    prompt: `Question ${i}: ${words(20)}`,
    row: { question: `Question ${i}`, answer: String(i) },
    completions: [
      {
        text: `${words(50)} #### ${right ? i : i + 1}`,
        finishReason: 'stop',
        usage: { promptTokens: 40, completionTokens: 100 },
        grades: { exact_match: { score: Number(right), answer: String(right ? i : i + 1) } },
      },
    ],
  };
});
const config = { task: 'benchmark', type: 'generate', model: 'model', seed: 0, graders: ['exact_match'] };
const result: EvalResult<GenerateProblem> = {
  ...{ config, problems, startedAt: '', finishedAt: '', seconds: 0, warnings: [] },
  metrics: sampleMetrics(problems, [meanScore()]),
};

const folder = mkdtempSync(join(tmpdir(), 'viewer-'));
try {
  const file = join(folder, 'page.html');
  const writing = performance.now();
  await writeViewer(file, [result]);
  const written = performance.now() - writing;
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  const opened: number[] = [];
  const filtered: number[] = [];
  for (let run = 0; run < 5; run++) {
    const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
    const begun = performance.now();
    await page.goto(pathToFileURL(file).href);
    await page.waitForSelector('html[data-ready]');
    await page.waitForSelector('.row');
    opened.push(performance.now() - begun);
    const typing = performance.now();
    await page.locator('#find').fill('problem-99');
    await page.waitForFunction("document.getElementById('count').textContent.length > 0");
    filtered.push(performance.now() - typing);
    await page.close();
  }
  await browser.close();
  const median = (times: number[]): string => `${(times.sort((a, b) => a - b)[2]! / 1000).toFixed(2)} s`;
  console.log(
    `${count} problems, ${(statSync(file).size / 1e6).toFixed(0)} MB: written in ${(written / 1000).toFixed(2)} s, ` +
      `opened in ${median(opened)} (of 5: ${opened.map((ms) => (ms / 1000).toFixed(2)).join(', ')}), filtered in ${median(filtered)}`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
