import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { FuzzModule, FuzzTarget } from '../../../testing/fuzz.js';
import { readRows, writeRows } from '../src/index.js';
import { mutateParquet } from './mutate-parquet.js';

const rows = Array.from({ length: 12 }, (_, i) => ({
  id: i,
  prompt: `What is ${i}, "${i % 3}"?\né🎉`,
  score: i % 4 === 3 ? null : i / 4,
  big: 2n ** 60n + BigInt(i),
  tags: i % 3 === 2 ? null : ['a', 'b'].slice(i % 3),
  messages: [
    { role: 'user', content: `q${i}` },
    { role: 'assistant', content: i === 4 ? null : 'a' },
  ],
}));

const plain = rows.map(({ id, prompt, score }) => ({ id, prompt, score }));
const bytes = (text: string) => new TextEncoder().encode(text);
const jsonl = bytes(rows.map(({ big, ...row }) => JSON.stringify({ ...row, big: Number(big) })).join('\r\n'));
const golden = (name: string) => Uint8Array.from(readFileSync(new URL(`goldens/${name}`, import.meta.url)));

/** What `writeRows` writes for a path. */
async function written(name: string, values: readonly object[]): Promise<Uint8Array> {
  const folder = await mkdtemp(`${tmpdir()}/fuzz-data-`);
  try {
    await writeRows(`${folder}/${name}`, values);
    return Uint8Array.from(readFileSync(`${folder}/${name}`));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function read(path: string): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const row of readRows(path)) all.push(row);
  return all;
}

function reader(extension: string): FuzzTarget {
  return async (mutant, { folder }) => {
    writeFileSync(`${folder}/x.${extension}`, mutant);
    await read(`${folder}/x.${extension}`);
  };
}

/** The format has a checksum of everything: what is read at all must be what was written. */
async function checksummed(mutant: Uint8Array, { folder }: { readonly folder: string }): Promise<void> {
  writeFileSync(`${folder}/x.jsonl.gz`, mutant);
  writeFileSync(`${folder}/right.jsonl`, jsonl);
  const found = await read(`${folder}/x.jsonl.gz`);
  if (!isDeepStrictEqual(found, await read(`${folder}/right.jsonl`))) throw new Error('other rows were read silently');
}

const CODECS = ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4', 'v2'];

let parquets: readonly Uint8Array[] | undefined;
const parquetFiles = async () => [
  await written('x.parquet', rows),
  ...[...CODECS, 'zstd-blocks', 'types', 'types-v2', 'delta', 'delta-length'].map((name) =>
    golden(`pyarrow-${name}.parquet`),
  ),
];

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  jsonl: { corpus: () => [jsonl], run: reader('jsonl') },
  'jsonl.gz': { corpus: () => [Uint8Array.from(gzipSync(jsonl))], run: checksummed },
  json: {
    corpus: () => [bytes(JSON.stringify(plain)), bytes(JSON.stringify(plain, null, 2))],
    run: reader('json'),
  },
  csv: { corpus: async () => [await written('x.csv', plain)], run: reader('csv') },
  tsv: { corpus: async () => [await written('x.tsv', plain)], run: reader('tsv') },
  parquet: { corpus: parquetFiles, run: reader('parquet') },
  'parquet numbers': {
    corpus: parquetFiles,
    async run(_, context) {
      parquets ??= await parquetFiles();
      const file = parquets[context.index % parquets.length]!;
      await reader('parquet')(mutateParquet(file, 1, context.index), context);
    },
  },
};

/** How the mutants of each target are made. */
export const FORMATS = [
  { target: 'jsonl', kind: 'text' },
  { target: 'jsonl.gz', kind: 'bytes' },
  { target: 'json', kind: 'json' },
  { target: 'csv', kind: 'text' },
  { target: 'tsv', kind: 'text' },
  { target: 'parquet', kind: 'bytes' },
  { target: 'parquet numbers', kind: 'bytes' },
] as const;

/** Delimiters and what has a meaning to some format. */
export const DICTIONARY = [',', '\t', '\r', '\n', '""', '[', '{', '}]', '__proto__', '\ud800', '1e999', 'PAR1'];
