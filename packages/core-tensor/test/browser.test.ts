import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../../../scripts/chromium.mjs';
import { importsOf } from '../../../scripts/import-circles.js';
import { readJson } from '../../../scripts/workspace.js';
import type { train } from './browser-page.js';

const packages = join(import.meta.dirname, '..', '..');
const executablePath = findChromium();

/** The entry points that a page can load, as it imports them. */
const ENTRIES = {
  '@posttrain/core-tensor': '/core-tensor/src/browser.js',
  '@posttrain/core-tensor/natural-gradient': '/core-tensor/src/natural-gradient/index.js',
  '@posttrain/core-tensor/optim': '/core-tensor/src/optim/index.js',
  '@posttrain/core-tensor/quantization': '/core-tensor/src/quantization/index.js',
  '@posttrain/core-tensor/tfjs': '/core-tensor/src/tfjs.js',
  '@posttrain/core-tensor/token-merging': '/core-tensor/src/token-merging/index.js',
} as const;
const IMPORTS = {
  ...ENTRIES,
  '@posttrain/interfaces': '/interfaces/src/index.js',
  '@posttrain/interfaces/random': '/interfaces/src/random/index.js',
};

/** Serves the sources as a page loads them: one module a file, only the types gone. */
function serveSources(): Promise<{ server: Server; url: string; served: string[] }> {
  const served: string[] = [];
  const page = `<!doctype html><link rel="icon" href="data:,"><script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`;
  const server = createServer((request, response) => {
    const path = new URL(request.url!, 'http://localhost').pathname;
    if (path === '/') return response.setHeader('content-type', 'text/html').end(page);
    served.push(path);
    const source = readFileSync(join(packages, path.replace(/\.js$/, '.ts')), 'utf8');
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    };
    const { outputText } = ts.transpileModule(source, { compilerOptions });
    return response.setHeader('content-type', 'text/javascript').end(outputText);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' ? address?.port : undefined;
      resolve({ server, url: `http://127.0.0.1:${port}/`, served });
    });
  });
}

describe('the entry points for browsers', () => {
  it('are the default conditions of the manifest, with the names that Node gets', async () => {
    const { exports } = readJson<{ exports: Record<string, Record<string, string>> }>(
      join(packages, 'core-tensor', 'package.json'),
    );
    expect(exports['.']!.browser).toBe('./src/browser.ts');
    const names = (module: object) => Object.keys(module).sort();
    expect(names(await import('../src/browser.js'))).toEqual(names(await import('../src/index.js')));
  });

  it('import nothing of Node, however far one follows them', () => {
    const seen = new Set<string>(Object.values(IMPORTS));
    for (const path of seen) {
      const source = readFileSync(join(packages, path.replace(/\.js$/, '.ts')), 'utf8');
      for (const { from, isTypeOnly } of importsOf(source)) {
        if (isTypeOnly) continue;
        expect(from, path).not.toMatch(/^node:/);
        if (from.startsWith('.')) seen.add(join(path, '..', from));
        else expect(Object.keys(IMPORTS), path).toContain(from);
      }
    }
    expect(seen.size).toBeGreaterThan(80);
    expect([...seen].filter((path) => path.includes('/onnxruntime/'))).toEqual([]);
  });

  describe('in a page', () => {
    let browser: Browser;
    let sources: Awaited<ReturnType<typeof serveSources>>;
    beforeAll(async () => {
      if (!executablePath) return;
      sources = await serveSources();
      browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
    });
    afterAll(async () => {
      await browser?.close();
      sources?.server.close();
    });

    it('load, name what to do without an engine, and train', async (context) => {
      if (!executablePath) return context.skip('no Chromium found: install one, or name it in CHROMIUM_PATH');
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text());
      });
      await page.goto(sources.url);
      // As text: the page imports for itself.
      const entries = JSON.stringify(Object.keys(ENTRIES));
      const names = `Promise.all(${entries}.map(async (entry) => Object.keys(await import(entry)).length))`;
      expect(Math.min(...(await page.evaluate<number[]>(names)))).toBeGreaterThan(0);
      const { refusal, losses, weights } = await page.evaluate<Awaited<ReturnType<typeof train>>>(
        "import('/core-tensor/test/browser-page.js').then(({ train }) => train())",
      );
      expect(refusal).toMatch(/no engine is set.*setEngine/);
      expect(losses.at(-1)!).toBeLessThan(1e-4 * losses[0]!);
      // y = x · (1, 2).
      expect(weights[0]).toBeCloseTo(1, 2);
      expect(weights[1]).toBeCloseTo(2, 2);
      expect(complaints).toEqual([]);
      expect(sources.served.some((path) => path.endsWith('/adamw.js'))).toBe(true);
    });
  });
});
