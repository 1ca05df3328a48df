import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitepress';
import { anchorOf } from '../anchors.js';

const sidebar = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'pages', 'navigation.json'), 'utf8'));

export default defineConfig({
  title: 'posttrain',
  description: 'Composable packages that post-train language models from TypeScript',
  lang: 'en',
  srcDir: 'pages',
  outDir: 'dist',
  cacheDir: 'cache',
  cleanUrls: false,
  metaChunk: true,
  markdown: {
    html: false,
    anchor: { slugify: anchorOf },
    toc: { slugify: anchorOf },
    // Vue would take the braces of chat templates for its own.
    config: (markdown) => {
      const { rules } = markdown.renderer;
      for (const name of ['text', 'code_inline']) {
        const render = rules[name]!;
        rules[name] = (...given) => render(...given).replaceAll('{{', '<span v-pre>{{</span>');
      }
    },
  },
  themeConfig: {
    sidebar,
    outline: [2, 3],
    search: { provider: 'local', options: { detailedView: false } },
    nav: [
      { text: 'Guides', link: '/start' },
      { text: 'Methods', link: '/methods/' },
      { text: 'Names', link: '/api' },
      { text: 'Recipes', link: '/examples/' },
      { text: 'Benchmarks', link: '/benchmarks/RESULTS' },
    ],
  },
});
