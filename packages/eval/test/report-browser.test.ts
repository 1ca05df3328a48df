import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createRandom } from '@posttrain/interfaces/random';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EvalResult, evaluate, type Report, writeReport, writeViewer } from '../src/index.js';
import { findChromium } from './browser.js';
import { exampleReport, HOSTILE } from './example-report.js';
import { noisyAdder, sumRows, sumTask } from './models.js';

const executablePath = findChromium();
const reason = 'no Chromium found: install one, or name it in CHROMIUM_PATH';
if (!executablePath) console.warn(`SKIPPED: the report in a real browser (${reason})`);

describe.skipIf(!executablePath)(`the report in a real browser${executablePath ? '' : ` (skipped: ${reason})`}`, () => {
  let folder: string;
  let report: Report;
  let browser: Browser;
  let address: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'posttrain-report-'));
    report = await exampleReport();
    const file = join(folder, 'out', 'report.html');
    await writeReport(file, report);
    address = pathToFileURL(file).href;
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-gpu'] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  /** Opens the report and records all that a self-contained page must not do. */
  async function open(
    options: Parameters<Browser['newPage']>[0],
  ): Promise<{ page: Page; complaints: string[]; requests: string[] }> {
    const page = await browser.newPage(options);
    const complaints: string[] = [];
    const requests: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('dialog', (dialog) => complaints.push(dialog.message()));
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(address, { waitUntil: 'load' });
    return { page, complaints, requests: requests.filter((url) => !url.startsWith('data:')) };
  }

  it('shows every section, table and plot, asks for nothing and complains of nothing', async () => {
    const { page, complaints, requests } = await open({ viewport: { width: 1200, height: 900 } });
    expect(await page.title()).toBe(report.title);
    expect(await page.locator('h2').allTextContents()).toEqual(report.sections.map(({ title }) => title));
    const plots = report.sections
      .flatMap(({ blocks }) => blocks)
      .filter(({ type }) => ['line', 'bar', 'scatter'].includes(type));
    const pictures = page.locator('figure > svg');
    expect(await pictures.count()).toBe(plots.length);
    for (const picture of await pictures.all()) {
      const box = (await picture.boundingBox())!;
      expect(box.width).toBeGreaterThan(300);
      expect(box.height).toBeGreaterThan(150);
      expect(await picture.getAttribute('aria-label')).toBeTruthy();
      expect(await picture.locator('.line, .bar, .marker').count()).toBeGreaterThan(0);
    }
    const table = page.locator('section > .table').first();
    expect(await table.isVisible()).toBe(true);
    expect(await table.locator('tbody tr').count()).toBe(3);
    expect(await table.locator('tbody tr').first().textContent()).toMatch(/base\s*29\.\d ± 1\.\d %/);

    const numbers = page.locator('figure details').first();
    expect(await numbers.locator('table').isVisible()).toBe(false);
    await numbers.locator('summary').click();
    expect(await numbers.locator('table').isVisible()).toBe(true);
    await page.locator('nav a').last().click();
    expect(new URL(page.url()).hash).toBe(`#section-${report.sections.length}`);
    expect(complaints).toEqual([]);
    expect(requests).toEqual([address]);
  });

  it('shows what a model wrote letter by letter and runs none of it', async () => {
    const { page, complaints, requests } = await open({ viewport: { width: 1200, height: 900 } });
    await page.mouse.move(300, 300);
    const shown = HOSTILE.replace('\u0000', '\ufffd').replace('\ud800', '\ufffd');
    const texts = await page.locator('pre').allTextContents();
    expect(texts.filter((text) => text === shown)).toHaveLength(3);
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
    expect(
      await page.locator('script, iframe, img, object, embed, [onerror], [onload], [href^="javascript"]').count(),
    ).toBe(0);
    expect(complaints).toEqual([]);
    expect(requests).toEqual([address]);
  });

  it('would not run a script even if one came through', async () => {
    const page = await browser.newPage();
    await page.goto(address);
    const html = await page.content();
    await page.setContent(
      html.replace(
        '<main>',
        '<main><script>globalThis.pwned = true</script><b onclick="globalThis.pwned = true">press</b>',
      ),
    );
    await page.locator('b', { hasText: 'press' }).click();
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
  });

  it('fits a phone: nothing is wider than the page, and plots can be read', async () => {
    const { page, complaints } = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    const picture = (await page.locator('figure > svg').first().boundingBox())!;
    expect(picture.x).toBeGreaterThanOrEqual(0);
    expect(picture.x + picture.width).toBeLessThanOrEqual(360);
    const textHeights = (await page.evaluate(
      "[...document.querySelectorAll('figure > svg text')].map((text) => text.getBoundingClientRect().height)",
    )) as number[];
    expect(Math.min(...textHeights)).toBeGreaterThan(9);
    expect(complaints).toEqual([]);
  });

  it.each(['light', 'dark'] as const)('has readable contrast in %s', async (colorScheme) => {
    const { page } = await open({ colorScheme, viewport: { width: 1200, height: 900 } });
    // WCAG 2 contrast of text against the nearest opaque background.
    const lowest = await page.evaluate(`(() => {
      const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
      const luminance = (color) => {
        const [r, g, b] = rgb(color).slice(0, 3).map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
          const color = getComputedStyle(e).backgroundColor;
          if ((rgb(color)[3] ?? 1) === 1) return color;
        }
      };
      const contrasts = [...document.querySelectorAll('h1,h2,h3,h4,p,td,th,dt,dd,pre,summary,li,text,.error,.badge,figcaption')].map((element) => {
        const style = getComputedStyle(element);
        const color = element.tagName === 'text' ? style.fill : style.color;
        const [a, b] = [luminance(color), luminance(behind(element))].sort((x, y) => y - x);
        return { contrast: (a + 0.05) / (b + 0.05), tag: element.tagName + '.' + element.getAttribute('class'), color, background: behind(element) };
      });
      return contrasts.reduce((x, y) => (y.contrast < x.contrast ? y : x));
    })()`);
    expect(lowest, JSON.stringify(lowest)).toMatchObject({ contrast: expect.any(Number) });
    expect((lowest as { contrast: number }).contrast, JSON.stringify(lowest)).toBeGreaterThan(4.5);
  });

  describe('the page to look through', () => {
    let viewer: string;
    let runs: EvalResult[];
    beforeAll(async () => {
      const [good, bad] = [
        await evaluate(sumTask(sumRows(300), 2), noisyAdder(0.1)),
        await evaluate(sumTask(sumRows(300), 2), noisyAdder(0.6)),
      ];
      const random = createRandom(1);
      const hostile = {
        ...good,
        problems: good.problems.map((problem, i) => ({
          ...problem,
          ...(i === 7 && { prompt: HOSTILE }),
          completions: problem.completions.map((one) => ({
            ...one,
            ...(i === 7 && { text: HOSTILE }),
            ...(random.float() < 0.1 && { finishReason: 'length' as const }),
          })),
        })),
      };
      runs = [hostile, bad];
      const file = join(folder, 'viewer.html');
      await writeViewer(file, runs, { title: 'Sums <b>' });
      viewer = pathToFileURL(file).href;
    });
    const visit = async (options: Parameters<Browser['newPage']>[0]) => {
      const page = await browser.newPage(options);
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('request', (request) => {
        if (!request.url().startsWith('data:') && request.url() !== viewer) complaints.push(request.url());
      });
      await page.goto(viewer);
      await page.waitForSelector('html[data-ready]');
      return { page, complaints };
    };
    const countOf = async (page: Page) => Number((await page.locator('#count').textContent())!.split(' of ')[0]);

    it('lists all problems with few elements, filters them, and shows what each run said', async () => {
      const { page, complaints } = await visit({ viewport: { width: 1200, height: 900 } });
      expect(await page.title()).toBe('Sums <b>');
      expect(await countOf(page)).toBe(300);
      expect(await page.locator('.row').count()).toBeLessThan(40);
      const values = runs.map(({ metrics }) => metrics[0]!.values as number[]);
      await page.locator('#show').selectOption('differs');
      expect(await countOf(page)).toBe(values[0]!.filter((value, i) => value !== values[1]![i]).length);
      await page.locator('#show').selectOption('cut');
      const cut = runs[0]!.problems.filter((problem) =>
        (problem as unknown as { completions: { finishReason: string }[] }).completions.some(
          ({ finishReason }) => finishReason === 'length',
        ),
      );
      expect(await countOf(page)).toBe(cut.length);
      await page.locator('#show').selectOption('all');
      await page.locator('#find').fill('299 + ');
      expect(await countOf(page)).toBe(1);
      await page.locator('.row').first().click();
      const text = (await page.locator('#details').textContent())!;
      expect(text).toContain('Problem 299');
      expect(text).toContain('Let me see. ####');
      expect(text).toContain('adder-0.6, sample 2 of 2');
      await page.locator('#find').fill('');
      await page.locator('#sort').selectOption('worst');
      const badges = await page.locator('.row').first().locator('.badge').allTextContents();
      expect(badges).toEqual(['0', '0']);
      expect(complaints).toEqual([]);
    });

    it('is used by the keyboard alone, and says to a screen reader where it is', async () => {
      const { page, complaints } = await visit({ viewport: { width: 1200, height: 900 } });
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('j');
      const chosen = page.locator('[role=option][aria-selected=true]');
      expect(await chosen.getAttribute('aria-posinset')).toBe('2');
      expect(await chosen.getAttribute('aria-setsize')).toBe('300');
      expect(await page.locator('#list').getAttribute('aria-activedescendant')).toBe(await chosen.getAttribute('id'));
      await page.keyboard.press('End');
      expect(await page.locator('#details h3').textContent()).toBe('Problem 299');
      await page.keyboard.press('Enter');
      expect(await page.evaluate('document.activeElement.id')).toBe('details');
      await page.keyboard.press('Escape');
      await page.keyboard.press('/');
      await page.keyboard.type('12 + 24');
      await page.keyboard.press('Escape');
      await page.keyboard.press('Home');
      expect(await page.locator('#details h3').textContent()).toBe('Problem 12');
      expect(complaints).toEqual([]);
    });

    it('runs nothing that a model wrote, and fits a phone', async () => {
      const { page, complaints } = await visit({
        viewport: { width: 360, height: 740 },
        isMobile: true,
        hasTouch: true,
      });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
      await page.locator('.row').nth(7).tap();
      expect(await page.locator('#details h3').textContent()).toBe('Problem 7');
      expect(await page.locator('#details pre').first().textContent()).toContain('<script');
      expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
      await page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'globalThis.pwned = 1' }))",
      );
      expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
      expect(complaints.filter((text) => !text.includes('Content Security Policy'))).toEqual([]);
    });
  });
});
