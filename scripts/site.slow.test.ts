import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from './chromium.mjs';
import type { Coverage } from './coverage.js';
import { readJson, root } from './workspace.js';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html',
  js: 'text/javascript',
  css: 'text/css',
  svg: 'image/svg+xml',
};
const dist = join(root, 'site', 'dist');
const executablePath = findChromium();

describe.skipIf(!executablePath)('the site that npm run docs builds (needs a Chromium)', () => {
  let server: Server;
  let browser: Browser;
  let page: Page;
  let address: string;
  const errors: string[] = [];

  beforeAll(async () => {
    const { status, stdout, stderr } = spawnSync('npm', ['run', 'docs'], { cwd: root, encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toContain('site/dist: 0 links that lead nowhere');
    server = createServer((request, response) => {
      const path = decodeURIComponent(new URL(request.url!, 'http://site').pathname);
      const file = join(dist, path.endsWith('/') ? `${path}index.html` : path);
      if (!existsSync(file)) return response.writeHead(404).end();
      return response
        .setHeader('content-type', TYPES[file.split('.').at(-1)!] ?? 'application/octet-stream')
        .end(readFileSync(file));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
    page = await browser.newPage();
    page.on('pageerror', (error) => errors.push(error.message));
    page.on(
      'response',
      (response) => response.status() >= 400 && errors.push(`${response.status()} ${response.url()}`),
    );
  }, 900_000);

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  it('has a page for each method, with its source', async () => {
    const { methods } = readJson<Coverage>(join(root, 'docs', 'coverage.json'));
    expect(methods.filter(({ id }) => !existsSync(join(dist, 'methods', `${id.toLowerCase()}.html`)))).toEqual([]);
    await page.goto(`${address}/methods/d16.html`);
    await expect.poll(() => page.locator('main h1').textContent()).toContain('GRPO');
    const text = await page.locator('main').textContent();
    for (const part of ['policyObjectives.grpo', 'epsilonHigh', 'arXiv 2402.03300', 'goldens/rl/grpo-loss.json'])
      expect(text).toContain(part);
  });

  it('is walked through by links, with pictures that load', async () => {
    await page.goto(address);
    await page.getByRole('link', { name: 'Recipes' }).first().click();
    await page.waitForURL('**/examples/**');
    const pictures = page.locator('main img');
    await expect.poll(() => pictures.count()).toBeGreaterThan(20);
    const widths = await pictures.evaluateAll((images) =>
      images.map((image) => (image as unknown as { naturalWidth: number }).naturalWidth),
    );
    expect(Math.min(...widths)).toBeGreaterThan(0);
  });

  it('finds a method by the keyboard', async () => {
    await page.goto(address);
    await page.waitForLoadState('networkidle');
    await page.keyboard.press('Control+k');
    await page.locator('input.search-input').fill('DAPO');
    await expect.poll(() => page.locator('.results li').count()).toBeGreaterThan(0);
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('main').textContent()).toContain('DAPO');
  });

  it.each(['/start.html', '/methods/d16.html', '/nouns.html'])('%s fits a phone, dark and light', async (path) => {
    await page.setViewportSize({ width: 375, height: 700 });
    const colours = new Set<string>();
    for (const colorScheme of ['dark', 'light'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.goto(address + path);
      await page.waitForLoadState('networkidle');
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(376);
      colours.add(await page.evaluate<string>('getComputedStyle(document.body).backgroundColor'));
    }
    expect(colours.size).toBe(2);
  });

  it('had no error on any of these pages', () => {
    expect(errors).toEqual([]);
  });
});
