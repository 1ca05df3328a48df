import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as zlib from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  DataFileError,
  dataFiles,
  htmlToText,
  pdfToText,
  RowError,
  readArrow,
  readDataset,
  readRows,
  readSql,
  readTextFile,
  readWebDataset,
  writeArrow,
  writeDataset,
  writeJsonl,
  writeRows,
  writeSql,
  writeTextFile,
  writeWebDataset,
} from '../src/index.js';
import { decimal } from '../src/io/parquet/leaf-values.js';
import { zstdFrames } from '../src/io/zstd-native.js';
import { collect, errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
const golden = (name: string) => fileURLToPath(new URL(`./goldens/formats/${name}`, import.meta.url));
const ROWS = Array.from({ length: 50 }, (_, id) => ({ id, text: `row ${id} é 🎉`, score: id === 2 ? null : id / 4 }));
const SHARD = [0, 1, 2].map((i) => ({
  __key__: `part/00${i}`,
  txt: `é ${i}`,
  json: { n: i, l: [1.5] },
  cls: i,
  'seg.bin': new Uint8Array([0, i]),
}));

/** Files of ours that `make_formats.py verify` reads with the libraries; written anew with WRITE_GOLDENS=1. */
async function sameAsCommitted(name: string, write: (file: string) => Promise<unknown>): Promise<void> {
  await write(path(name));
  if (process.env.WRITE_GOLDENS) writeFileSync(golden(name), readFileSync(path(name)));
  expect(readFileSync(path(name)).equals(readFileSync(golden(name)))).toBe(true);
}

describe('compressed files', () => {
  test('gzip and zstd of the reference libraries: one frame, several, without a size', async () => {
    expect(await collect(readRows(golden('rows.jsonl.gz')))).toEqual(ROWS);
    expect(await collect(readRows(golden('rows.jsonl.zst')))).toEqual(ROWS);
    expect(await collect(readRows(golden('frames.jsonl.zst')))).toEqual([...ROWS, ...ROWS]);
  });

  test.each(['jsonl', 'csv', 'tsv', 'txt', 'tar'])('.%s.gz and .zst read back, and are smaller', async (kind) => {
    const rows = Array.from({ length: 300 }, (_, i) => (kind === 'tar' ? { txt: `text ${i}` } : { text: `text ${i}` }));
    const plain = await writeRows(path(`a.${kind}`), rows);
    for (const ending of ['gz', 'zst']) {
      const file = path(`a.${kind}.${ending}`);
      const { bytes } = await writeRows(file, rows);
      expect(bytes).toBe(readFileSync(file).length);
      expect(bytes).toBeLessThan(plain.bytes / 2);
      expect(await collect(readRows(file))).toEqual(await collect(readRows(path(`a.${kind}`))));
    }
    expect(zlib.gunzipSync(readFileSync(path(`a.${kind}.gz`))).equals(readFileSync(path(`a.${kind}`)))).toBe(true);
  });

  test('zstd frames are told apart, wherever their chunks end', async () => {
    const whole = readFileSync(golden('rows.jsonl.zst'));
    const skipped = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const file = Buffer.concat([skipped, whole, skipped, whole, whole]);
    for (const size of [1, 2, 3, 5, 7, 11, 1000, file.length]) {
      async function* chunks() {
        for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size);
      }
      const frames: Buffer[] = [Buffer.alloc(0)];
      for await (const { bytes, ends } of zstdFrames(chunks())) {
        frames.push(Buffer.concat([frames.pop()!, bytes]));
        if (ends) frames.push(Buffer.alloc(0));
      }
      expect(frames.map(({ length }) => length)).toEqual([whole.length, whole.length, whole.length, 0]);
      expect(Buffer.concat(frames).equals(Buffer.concat([whole, whole, whole]))).toBe(true);
    }
    writeFileSync(path('frames.jsonl.zst'), file);
    const rows = await collect(readRows(golden('rows.jsonl.zst')));
    expect(await collect(readRows(path('frames.jsonl.zst')))).toEqual([...rows, ...rows, ...rows]);
  });

  test('files that are written at once do not mix', async () => {
    const rows = (n: number) => Array.from({ length: 4000 }, (_, i) => ({ n, text: `${Math.sin(i * n)}` }));
    await Promise.all([1, 2, 3].map((n) => writeJsonl(path(`${n}.jsonl.zst`), rows(n))));
    for (const n of [1, 2, 3]) expect(await collect(readRows(path(`${n}.jsonl.zst`)))).toEqual(rows(n));
  });

  test('damaged, cut or empty zstd is an error, and what failed leaves nothing', async () => {
    const whole = readFileSync(golden('rows.jsonl.zst'));
    const flipped = Uint8Array.from(whole, (byte, i) => (i === 200 ? byte ^ 0x40 : byte));
    for (const bytes of [whole.subarray(0, -6), flipped, Buffer.from('no zstd at all'), Buffer.alloc(0)]) {
      writeFileSync(path('x.jsonl.zst'), bytes);
      expect(await errorOf(() => collect(readRows(path('x.jsonl.zst'))))).toBeInstanceOf(DataFileError);
    }
    async function* failing() {
      yield { a: 1 };
      throw new Error('the source broke');
    }
    for (const ending of ['gz', 'zst']) {
      const error = await errorOf(() => writeJsonl(path(`y.jsonl.${ending}`), failing()));
      expect(error.message).toBe('the source broke');
    }
    expect(readdirSync(path()).filter((name) => name.startsWith('y'))).toEqual([]);
    for (const file of ['a.parquet.gz', 'a.arrow.zst']) {
      expect((await errorOf(() => writeRows(path(file), ROWS))).message).toMatch(/do not know how to write/);
    }
    expect((await errorOf(() => writeArrow(path('a.arrow.zst'), ROWS))).message).toMatch(/drop the ending/);
  });

  test('ours are what the libraries were checked with', async () => {
    // Node's own zstd is another version than that in WebAssembly.
    if ('createZstdCompress' in zlib) expect(await collect(readRows(golden('ours.jsonl.zst')))).toEqual(ROWS);
    else await sameAsCommitted('ours.jsonl.zst', (file) => writeJsonl(file, ROWS));
    await sameAsCommitted('ours.feather', (file) => writeRows(file, ROWS));
    await sameAsCommitted('ours-stream.arrow', (file) => writeArrow(file, ROWS, { format: 'stream', batchSize: 20 }));
    await sameAsCommitted('ours.tar', (file) => writeWebDataset(file, SHARD));
    // Another version of zlib may give other bytes.
    await writeJsonl(path('ours.jsonl.gz'), ROWS);
    if (process.env.WRITE_GOLDENS) writeFileSync(golden('ours.jsonl.gz'), readFileSync(path('ours.jsonl.gz')));
    expect(zlib.gunzipSync(readFileSync(path('ours.jsonl.gz')))).toEqual(
      zlib.gunzipSync(readFileSync(golden('ours.jsonl.gz'))),
    );
  });
});

describe('text files', () => {
  const texts = JSON.parse(readFileSync(golden('texts.json'), 'utf8')) as Record<string, string[]>;

  test.each(['line', 'paragraph', 'document'] as const)('as datasets reads them, by %s', async (sampleBy) => {
    const rows = await collect(readTextFile(golden('lines.txt'), { sampleBy }));
    const normal = (text: string) => text.replaceAll('\r\n', '\n');
    expect(rows.map(({ text }) => normal(text))).toEqual(texts[sampleBy]);
  });

  test.each([
    ['a\r\nb\r\n\r\nc\r\n', ['a\r\nb', 'c\r\n']],
    ['a\n\n\n\nb', ['a', 'b']],
    ['a\r\rb\n\r\nc', ['a', 'b', 'c']],
  ])('paragraphs of %j', async (content, expected) => {
    writeFileSync(path('p.txt'), content);
    const rows = await collect(readTextFile(path('p.txt'), { sampleBy: 'paragraph' }));
    expect(rows.map(({ text }) => text)).toEqual(expected);
  });

  test('a text that would be two rows is refused', async () => {
    for (const row of [{ text: 'a\nb' }, { text: 1 }, { text: 'a', id: 1 }]) {
      expect(await errorOf(() => writeTextFile(path('a.txt'), [row]))).toBeInstanceOf(RowError);
    }
    writeFileSync(path('long.txt'), 'x'.repeat(100));
    expect((await errorOf(() => collect(readTextFile(path('long.txt'), { maxRowBytes: 99 })))).message).toMatch(
      /long.txt:1/,
    );
  });
});

describe('Arrow', () => {
  test.each(['types-lz4.feather', 'types-zstd.feather', 'types-plain.feather', 'types-stream.arrow'])(
    'every type exactly as pyarrow wrote it: %s',
    async (name) => {
      const rows = await collect(readArrow(golden(name)));
      const column = (key: string) => rows.map((row) => row[key]);
      expect(column('i')).toEqual([1, null, 3]);
      expect(column('big')).toEqual([2n ** 60n + 1n, 5, null]);
      expect(column('u')).toEqual([2n ** 64n - 1n, 0, null]);
      expect(column('f')).toEqual([0.5, null, -1.25]);
      expect(column('s')).toEqual(['a', null, 'é🎉']);
      expect(column('bytes')).toEqual([new Uint8Array([0, 255]), new Uint8Array(0), null]);
      expect(column('fixed')).toEqual([new Uint8Array([97, 98]), null, new Uint8Array([99, 100])]);
      expect(column('when')).toEqual(['2024-02-29T12:00:01.234567Z', null, new Date(-1000)]);
      expect(column('second')).toEqual([new Date('2024-02-29T12:00:01Z'), null, null]);
      expect(column('day')).toEqual([new Date('2024-02-29'), null, null]);
      expect(column('time')).toEqual(['01:02:03.000004', null, null]);
      expect(column('money')).toEqual([-12.34, null, 0.05]);
      expect(column('long')).toEqual(['12345678901234567890.5', null, null]);
      expect(column('kind')).toEqual(['x', 'y', 'x']);
      expect(column('list')).toEqual([[1, null], [], null]);
      expect(column('messages')).toEqual([[{ role: 'user', content: 'q' }], null, []]);
      expect(column('map')).toEqual([{ a: 1, b: null }, {}, null]);
      expect(column('none')).toEqual([null, null, null]);
    },
  );

  test('what is written reads back, over batches; damage is an error', async () => {
    const rows = ROWS.map((row) => ({
      ...row,
      when: new Date(1.7e12 + row.id),
      messages: row.id % 3 ? [{ role: 'user', content: null }] : [],
      blob: new Uint8Array([row.id]),
      flag: row.id % 2 === 0,
    }));
    for (const format of ['file', 'stream'] as const) {
      await writeArrow(path('a.arrow'), rows, { format, batchSize: 7 });
      expect(await collect(readArrow(path('a.arrow')))).toEqual(rows);
    }
    const bytes = readFileSync(golden('types-lz4.feather'));
    const stream = readFileSync(golden('types-stream.arrow'));
    const texts = ['text', 'a longer text that is no Arrow', ''].map((text) => Buffer.from(text));
    for (const bad of [
      bytes.subarray(0, 900),
      stream.subarray(0, 2000),
      stream.subarray(0, 3000),
      stream.subarray(0, 3300),
      ...texts,
    ]) {
      writeFileSync(path('bad.arrow'), bad);
      expect(await errorOf(() => collect(readArrow(path('bad.arrow'))))).toBeInstanceOf(DataFileError);
    }
    expect(await errorOf(() => writeArrow(path('b.arrow'), [{ a: 1 }, { b: 1 }], { batchSize: 1 }))).toBeInstanceOf(
      RowError,
    );
    expect(existsSync(path('b.arrow'))).toBe(false);
  });

  test('decimals of a scale below 0 are whole; a column that is there twice is an error', async () => {
    expect([decimal({ precision: 5, scale: -2 })(-123n), decimal({ precision: 20, scale: -1 })(7n)]).toEqual([
      -12300,
      '70',
    ]);
    const { Field, Int32, RecordBatch, Schema, Struct, Table, makeData, tableToIPC, vectorFromArray } = await import(
      'apache-arrow'
    );
    const fields = [new Field('a', new Int32()), new Field('a', new Int32())];
    const children = fields.map(() => vectorFromArray([1], new Int32()).data[0]!);
    const batch = new RecordBatch(
      new Schema(fields),
      makeData({ type: new Struct(fields), length: 1, nullCount: 0, children }),
    );
    writeFileSync(path('twice.arrow'), tableToIPC(new Table(batch), 'file'));
    expect((await errorOf(() => collect(readArrow(path('twice.arrow'))))).message).toMatch(/column "a" is there twice/);
  });
});

describe('WebDataset shards', () => {
  test('of the webdataset library, and ours', async () => {
    expect(await collect(readWebDataset(golden('shard.tar')))).toEqual(SHARD);
    expect(await collect(readWebDataset(golden('ours.tar')))).toEqual(SHARD);
  });

  test('long names, and what cannot be', async () => {
    const key = `${'folder/'.repeat(20)}${'k'.repeat(120)}`;
    await writeWebDataset(path('a.tar'), [{ __key__: key, txt: 'é' }, { json: [1] }]);
    expect(await collect(readWebDataset(path('a.tar')))).toEqual([
      { __key__: key, txt: 'é' },
      { __key__: '000000001', json: [1] },
    ]);
    const twice = { __key__: 'a', txt: 'x' };
    for (const rows of [
      [twice, twice],
      [{ __key__: 'a.b', txt: 'x' }],
      [{ cls: 'x' }],
      [{ png: 'text' }],
      [{}],
      [{ Txt: 'x' }],
      [{ __key__: '__x__', txt: 'x' }],
    ]) {
      expect(await errorOf(() => writeWebDataset(path('b.tar'), rows))).toBeInstanceOf(RowError);
    }
    // A column by the name of what every object has.
    const odd = Object.fromEntries([
      ['__key__', 'k'],
      ['__proto__', new Uint8Array([1])],
    ]);
    await writeWebDataset(path('c.tar'), [odd]);
    expect(Object.entries((await collect(readWebDataset(path('c.tar'))))[0]!)).toEqual(Object.entries(odd));
    const bytes = readFileSync(golden('shard.tar'));
    const flipped = Uint8Array.from(bytes, (byte, i) => (i === 20 ? byte ^ 1 : byte));
    for (const bad of [bytes.subarray(0, 1300), flipped]) {
      writeFileSync(path('bad.tar'), bad);
      expect(await errorOf(() => collect(readWebDataset(path('bad.tar'))))).toBeInstanceOf(DataFileError);
    }
  });
});

describe('folders of the hub', () => {
  test('the configurations and splits of README.md, as datasets reads them', async () => {
    const ns = async (options: object) => (await collect(readDataset(golden('folder'), options))).map(({ n }) => n);
    expect(await ns({ config: 'en', split: 'train_sft' })).toEqual([0, 1, 2, 3]);
    expect(await ns({ config: 'en', split: 'held' })).toEqual([4, 5]);
    expect(await ns({})).toEqual([0, 1, 2, 3, 4, 5]);
    expect((await errorOf(() => ns({ config: 'end' }))).message).toMatch(/Did you mean "en"/);
    expect((await errorOf(() => ns({ config: 'en', split: 'test' }))).message).toMatch(/It has train_sft, held/);
  });

  test.each([
    ['configs: 3', /must be a list/],
    ['configs: [{data_files: "https://x/y.csv"}]', /not in the folder/],
    ['configs: [{data_files: "../secret.csv"}]', /out of the folder/],
    ['configs: [{data_files: "no/*.csv"}]', /no such file/],
    ['configs: [{data_files: {a: 1}}]', /neither paths/],
    ['configs: [a: b: c', /no YAML/],
  ])('a card that cannot be meant: %s', async (front, message) => {
    writeFileSync(path('README.md'), `---\n${front}\n---\n`);
    writeFileSync(path('train.csv'), 'a\n1\n');
    expect((await errorOf(() => dataFiles(path()))).message).toMatch(message);
  });

  test('splits by the words of names, digits apart as in datasets; globs do not look where they need not', async () => {
    mkdirSync(path('words', 'deep'), { recursive: true });
    for (const name of ['test1.csv', 'my2train3.csv', 'latest.csv', 'deep/val.csv'])
      writeFileSync(path('words', name), 'a\n1\n');
    const found = async (split: string) =>
      (await dataFiles(path('words'), { split })).map((file) => file.slice(path('words').length + 1));
    expect(await found('test')).toEqual(['test1.csv']);
    expect(await found('train')).toEqual(['latest.csv', 'my2train3.csv']);
    expect(await found('validation')).toEqual(['deep/val.csv']);
    expect(await dataFiles(path('words', '*.csv'))).toHaveLength(3);
    expect(await dataFiles(path('words', '**.csv'))).toHaveLength(4);
    expect(await dataFiles(path('words', '*[0-2].csv'))).toEqual([path('words', 'test1.csv')]);
    expect(await dataFiles(path('words', '[!l]*[0-9].csv'))).toHaveLength(2);
    expect((await errorOf(() => dataFiles(path('words', '[9-0].csv')))).message).toMatch(/"\[9-0\]" is no set/);
    writeFileSync(path('words', 'README.md'), '---\nconfigs: [{config_name: a, data_dir: .}]\n---\n');
    expect(await found('test')).toEqual(['test1.csv']);
  });

  test('a folder that is written is one that is read, by datasets too', async () => {
    const rows = ROWS.map((row) => ({ ...row, m: [{ role: 'user', content: `${row.id}` }] }));
    const folder = path('ours-folder');
    const written = await writeDataset(folder, { train: rows, test: rows.slice(0, 3) }, { rowsPerFile: 20 });
    expect(written.map(({ name, rows }) => [name, rows])).toEqual([
      ['train', 50],
      ['test', 3],
    ]);
    expect(readdirSync(path('ours-folder', 'data'))).toHaveLength(4);
    expect(await collect(readDataset(folder))).toEqual(rows);
    expect(await collect(readDataset(folder, { split: 'test' }))).toEqual(rows.slice(0, 3));
    if (process.env.WRITE_GOLDENS) {
      mkdirSync(golden('ours-folder/data'), { recursive: true });
      for (const name of ['README.md', ...readdirSync(path('ours-folder', 'data')).map((file) => `data/${file}`)])
        writeFileSync(golden(`ours-folder/${name}`), readFileSync(path('ours-folder', name)));
    }
    expect(readFileSync(path('ours-folder', 'README.md'), 'utf8')).toBe(
      readFileSync(golden('ours-folder/README.md'), 'utf8'),
    );
    expect((await errorOf(() => writeDataset(folder, { train: rows }))).message).toMatch(/is there already/);
    expect(await errorOf(() => writeDataset(path('bad'), { train: [{ a: 1 }, { a: {} }] }))).toBeInstanceOf(RowError);
    // The same folder can be written once the rows are right.
    await writeDataset(path('bad'), { train: [{ a: 1 }] });
    expect(readdirSync(path('bad', 'data'))).toHaveLength(1);
  });
});

describe('documents', () => {
  const article = `<p>${'The tide tables of the harbour were copied by hand for two hundred years, line by line, until a clerk found the first mistake. '.repeat(4)}</p>`;

  test('the article of a page, without what is around it', async () => {
    const html = `<html><head><title>Tide  tables</title><style>p{}</style></head><body><nav><a href="/">Home</a><a href="/b">About us</a></nav>
      <article><h1>Tide tables</h1>${article}<p>It was <b>small</b>,&nbsp;but<br>old.</p>${article}</article><script>var x</script><footer>Imprint</footer></body></html>`;
    const { title, text } = await htmlToText(html);
    expect(title).toBe('Tide tables');
    expect(text).toContain('It was small,\u00a0but\nold.');
    expect(text).not.toMatch(/About us|Imprint|var x|p\{\}/);
    const whole = await htmlToText(html, { article: false });
    expect(whole.text).toMatch(/About us[\s\S]*Imprint/);
    expect(whole.text).not.toMatch(/var x|p\{\}/);
    for (const old of [
      '<HTML><HEAD><TITLE>T</TITLE></HEAD><BODY><P>Hi</BODY></HTML>',
      '<html><head><title>T</title></head><p>Hi</html>',
    ]) {
      expect(await htmlToText(old)).toEqual({ title: 'T', text: 'Hi' });
    }
    writeFileSync(path('deep.html'), `<body>${'<div>'.repeat(20_000)}deep`);
    const deep = await errorOf(() => collect(readRows(path('deep.html'))));
    expect([deep instanceof DataFileError, deep.message]).toEqual([
      true,
      expect.stringMatching(/more than 512 elements/),
    ]);
    expect((await htmlToText(`<!DOCTYPE html><title>T</title><body>${'<div>'.repeat(400)}deep`)).text).toBe('deep');
    writeFileSync(path('a.html'), Buffer.from('<meta charset="latin1"><p>caf\xe9</p><pre>a\n  b</pre>', 'latin1'));
    expect(await collect(readRows(path('a.html')))).toEqual([
      { path: path('a.html'), title: '', text: 'café\n\na\n  b' },
    ]);
  });

  test('the pages of a PDF file', async () => {
    const { text, pages } = await pdfToText(readFileSync(golden('two-pages.pdf')));
    expect(pages).toEqual(['The first page says this.', 'The second page says that.']);
    expect(text).toBe(pages.join('\n\n'));
    expect(await collect(readRows(golden('two-pages.pdf')))).toMatchObject([{ pages }]);
    expect((await errorOf(() => pdfToText(Buffer.from('no')))).message).toMatch(/cannot be read as PDF/);
  });
});

const duckdb = await import('@duckdb/node-api').then(
  () => true,
  () => false,
);
describe.skipIf(!duckdb)(`SQL by DuckDB${duckdb ? '' : ' (skipped: @duckdb/node-api is not installed)'}`, () => {
  test('a query over Parquet of ours and of pyarrow, and a table that is written and read', async () => {
    await writeRows(path('a.parquet'), ROWS);
    const query = `SELECT text, id, score FROM '${path('*.parquet')}' WHERE id > $least ORDER BY id`;
    const found = await collect(readSql(query, { parameters: { least: 46 } }));
    expect(found).toEqual(ROWS.slice(47));
    const rows = [
      {
        id: 2n ** 60n,
        at: new Date(1.7e12),
        tags: ['a', null],
        m: [{ role: 'user', n: 1 }],
        blob: new Uint8Array([1]),
        ok: true,
        x: null,
      },
      { id: 1, at: null, tags: [], m: null, blob: null, ok: false, x: 1.5 },
    ];
    expect(await writeSql(path('db.duckdb'), 'rows', rows)).toEqual({ rows: 2 });
    expect(await collect(readSql('SELECT * FROM rows', { database: path('db.duckdb') }))).toEqual(rows);
    await expect(writeSql(path('db.duckdb'), 'rows', [{ a: 1 }, { a: 'x' }])).rejects.toBeInstanceOf(RowError);
    expect(await collect(readSql('SELECT count(*) AS n FROM rows', { database: path('db.duckdb') }))).toEqual([
      { n: 2 },
    ]);
    const far = "SELECT 'infinity'::DATE AS d, '-infinity'::TIMESTAMP AS t, '290000-01-01'::TIMESTAMP AS s";
    expect(await collect(readSql(far))).toEqual([{ d: 'infinity', t: '-infinity', s: '290000-01-01 00:00:00' }]);
    await expect(writeSql(path('db.duckdb'), 'a; DROP', rows)).rejects.toThrow(/cannot name a table/);
    expect((await errorOf(() => collect(readSql('SELEC 1')))).message).toMatch(/syntax error|Parser Error/i);
    expect(await errorOf(() => collect(readSql('SELECT 1', { database: path('none.duckdb') })))).toBeInstanceOf(
      DataFileError,
    );
  });
});
