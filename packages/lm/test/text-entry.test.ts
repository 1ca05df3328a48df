import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ChatTemplate, Tokenizer } from '../src/index.js';
import { ChatRenderer, TextTokenizer } from '../src/text.js';
import { readTokenizerGolden, tokenizerGoldens, tokenizerKinds } from './tokenizer/goldens.js';

it('nothing of @posttrain/lm/text is of Node.js', () => {
  const { resolve } = createRequire(import.meta.url);
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const source = readFileSync(file, 'utf8');
    expect(source, file).not.toMatch(/\bfrom 'node:|\bimport\('|\bBuffer\b|\bprocess\.|\brequire\(/);
    for (const [, path] of source.matchAll(/from '([^']+)'/g)) {
      if (path!.startsWith('.')) visit(join(file, '..', path!.replace(/\.js$/, '.ts')));
      else {
        // The only package that it needs.
        expect(path, file).toMatch(/^@posttrain\/interfaces(\/|$)/);
        visit(resolve(path!));
      }
    }
  };
  visit(join(import.meta.dirname, '../src/text.ts'));
  expect(seen.size).toBeGreaterThan(80);
});

it.each(tokenizerKinds)('%s: made of parsed files it is what a folder gives', async (kind) => {
  const folder = join(tokenizerGoldens, kind);
  const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const tokenizer = new TextTokenizer({ tokenizer: json('tokenizer.json'), config: json('tokenizer_config.json') });
  const loaded = await Tokenizer.load(folder);
  for (const { text, ids } of readTokenizerGolden(kind).encode) {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(loaded.decode(ids));
  }
  const template = '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}';
  const messages = [{ role: 'user', content: 'Hello' }] as const;
  const rendered = new ChatRenderer(tokenizer, template).renderChat(messages);
  expect(rendered).toEqual(new ChatTemplate(loaded, template).renderChat(messages));
  expect(rendered.text).toBe('<user>Hello');
});
