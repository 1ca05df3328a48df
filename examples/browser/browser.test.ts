import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CausalLM, exportGenerator, LocalGenerator } from '@posttrain/lm';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../../scripts/chromium.mjs';
import { problemRows } from '../pretrain-tiny/problem.js';
import { fineTunedModel } from './fine-tune.js';
import { serve } from './server.js';

const executablePath = findChromium();
const reason = 'no Chromium found: install one, or name it in CHROMIUM_PATH';
if (!executablePath) console.warn(`SKIPPED: an exported model in a browser (${reason})`);

describe.skipIf(!executablePath)(
  `an exported model in a browser${executablePath ? '' : ` (skipped: ${reason})`}`,
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'posttrain-browser-'));
    let model: CausalLM;
    let served: { server: Server; url: string };
    let browser: Browser;
    beforeAll(async () => {
      model = await fineTunedModel(32, () => {});
      await exportGenerator(model, folder);
      served = await serve(folder, 0);
      // WebGPU without a GPU: Chromium brings a software adapter.
      const webgpu = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan,WebGPU'];
      browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', ...webgpu] });
    });
    afterAll(async () => {
      await browser?.close();
      served?.server.close();
      rmSync(folder, { recursive: true });
    });

    it.for([
      ['wasm', 6],
      ['webgpu', 1],
    ] as const)(
      'generates on %s the tokens that generate gives, and asks no other machine',
      async ([provider, count], context) => {
        const page = await browser.newPage();
        const requests: string[] = [];
        const complaints: string[] = [];
        page.on('request', (request) => requests.push(request.url()));
        page.on('pageerror', (error) => complaints.push(error.message));
        page.on('console', (message) => {
          if (message.type() === 'error') complaints.push(message.text());
        });
        await page.goto(`${served.url}?provider=${provider}`);
        const hasAdapter = await page.evaluate('navigator.gpu?.requestAdapter().then((adapter) => adapter !== null)');
        if (provider === 'webgpu' && !hasAdapter) return context.skip('this Chromium has no WebGPU adapter');
        await page.locator('button:enabled').waitFor();
        expect(await page.locator('#status').textContent()).toContain(`Running on ${provider}.`);

        const prompts = problemRows({ split: 'heldOut', count, seed: 2 }).map(({ prompt }) => prompt);
        const expected = await new LocalGenerator(model).generate(
          prompts.map((content) => ({ prompt: [{ role: 'user', content }], temperature: 0, maxTokens: 200 })),
        );
        // They work it out, each in its own way, so that equal tokens say something.
        const texts = expected.map(([completion]) => completion!.text);
        expect(new Set(texts).size).toBe(count);
        for (const text of texts) expect(text).toMatch(/=.*=/);
        for (const [i, prompt] of prompts.entries()) {
          const { tokenIds, text } = expected[i]![0]!;
          await page.locator('#prompt').fill(prompt);
          await page.locator('button').click();
          const output = page.locator('output[data-tokens]');
          await output.waitFor({ state: 'attached' });
          expect((await output.getAttribute('data-tokens'))!.split(' ').map(Number)).toEqual(tokenIds);
          expect(await output.textContent()).toBe(text);
        }
        expect(complaints).toEqual([]);
        expect(requests.filter((url) => !url.startsWith(served.url) && !/^(data|blob):/.test(url))).toEqual([]);
        expect(requests.some((url) => url.endsWith('.wasm'))).toBe(true);
      },
    );
  },
);
