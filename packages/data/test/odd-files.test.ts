import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  maybeUnpairPreferenceDataset,
  RowError,
  readRows,
  unpairPreferenceDataset,
  validateRow,
  writeCsv,
  writeJsonl,
} from '../src/index.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();

test('a text of millions of escapes beside a long integer is read', async () => {
  const code = 'a\n"\\'.repeat(2_000_000);
  const text = JSON.stringify({ code, more: '12345678901234567891', n: 'N' }).replace('"N"', '12345678901234567891');
  writeFileSync(path('a.jsonl'), text);
  const [row] = await collect(readRows(path('a.jsonl')));
  expect(row!.code === code).toBe(true);
  expect([row!.more, row!.n]).toEqual(['12345678901234567891', 12345678901234567891n]);
});

test('a zero keeps its sign in JSON and CSV', async () => {
  await writeJsonl(path('a.jsonl'), [{ a: -0, b: [0, -0] }]);
  expect(await collect(readRows(path('a.jsonl')))).toStrictEqual([{ a: -0, b: [0, -0] }]);
  await writeCsv(path('a.csv'), [{ a: -0 }]);
  expect(await collect(readRows(path('a.csv')))).toEqual([{ a: '-0' }]);
});

test.skipIf(process.platform === 'win32')('a pipe is refused where a file is read twice; it would hang', async () => {
  execFileSync('/usr/bin/env', ['mkfifo', path('a.json')]);
  expect((await errorOf(() => collect(readRows(path('a.json'))))).message).toMatch(/is a pipe.*use readJsonl/);
});

test.skipIf(process.platform === 'win32')('writing through a link writes its target', async () => {
  writeFileSync(path('real.jsonl'), '');
  symlinkSync('real.jsonl', path('link.jsonl'));
  await writeJsonl(path('link.jsonl'), [{ a: 1 }]);
  expect(lstatSync(path('link.jsonl')).isSymbolicLink()).toBe(true);
  expect(readFileSync(path('real.jsonl'), 'utf8')).toBe('{"a":1}\n');
});

test('a column that is null because other rows have it is not there', async () => {
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ];
  validateRow({ messages, text: null }, 'language-modeling');
  validateRow({ messages: null, text: 'a' }, 'language-modeling');
  const row = { prompt: 'a', completion: 'b', label: true, chosen: null, rejected: null };
  expect(await collect(maybeUnpairPreferenceDataset([row]))).toEqual([row]);
  const half = [{ chosen: 'a', rejected: null }];
  for (const unpair of [unpairPreferenceDataset, maybeUnpairPreferenceDataset]) {
    expect(await errorOf(() => collect(unpair(half)))).toBeInstanceOf(RowError);
  }
});
