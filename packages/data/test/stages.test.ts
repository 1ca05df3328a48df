import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, test } from 'vitest';
import {
  type DataStep,
  exactSubstringDeduplicate,
  filter,
  hashShingles,
  map,
  minHasher,
  minhashDeduplicate,
  pipeline,
  type Row,
  runShards,
  SortedRecords,
  semDeDup,
  shuffle,
  simplifyText,
  take,
  wordShingles,
} from '../src/index.js';
import { clusters, deduplication, type Fatal, letterCounts, semantic, texts } from './minhash-run.js';
import { errorOf, useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
const golden = JSON.parse(readFileSync(new URL('../../../goldens/minhash/minhash.json', import.meta.url), 'utf8')) as {
  readonly signatures: { text: string; bits64: string[]; bits32: number[] }[];
};

const same = (row: Row) => ({ ...row });
/** A plan of how many rows there are, which every row then gets. */
const counting = (version: string, log: string[] = []): DataStep<object, object, { count: number }> => ({
  name: 'count',
  version,
  async plan(rows) {
    log.push('plan');
    let count = 0;
    for await (const _ of rows) count++;
    return { count };
  },
  async *apply(rows, context, { count }) {
    for await (const row of rows) yield context.derive({ ...row, count }, row);
  },
});
const numbered = (count: number) => Array.from({ length: count }, (_, i) => ({ i }));

describe('minhash', () => {
  test.each(golden.signatures)("signatures are those of datatrove's formulas: $text", ({ text, bits64, bits32 }) => {
    const hashes = hashShingles(wordShingles(simplifyText(text), 5));
    const long = minHasher(112, 1, 64).signature(hashes);
    expect(Array.from({ length: 112 }, (_, i) => long.readBigUInt64BE(8 * i).toString())).toEqual(bits64);
    const short = minHasher(112, 1, 32).signature(hashes);
    expect(Array.from({ length: 112 }, (_, i) => short.readUInt32BE(4 * i))).toEqual(bits32);
  });

  test('a signature that datatrove itself wrote', () => {
    const hashes = hashShingles(wordShingles('the quick brown fox jumps over the lazy dog and runs away', 5));
    expect((BigInt(hashes[0]!) << 32n) | BigInt(hashes[1]!)).toBe(12313522834835307089n);
    const signature = minHasher(112, 1, 64).signature(hashes);
    expect([0, 1, 7].map((i) => signature.readBigUInt64BE(8 * i))).toEqual([
      585594454516184072n,
      248469680858563057n,
      439255022718586444n,
    ]);
  });

  test('keeps the first of every cluster of the golden', async () => {
    const kept = await pipeline(texts, [minhashDeduplicate<{ text: string }>()]).collect();
    expect(kept).toEqual(texts.filter((_, i) => clusters[i] === i));
    expect(kept.length).toBeLessThan(texts.length);
  });

  test('keeps the best of every cluster by a score', async () => {
    const score = ({ text }: { text: string }) => text.length;
    const kept = await pipeline(texts, [minhashDeduplicate<{ text: string }>({ score })]).collect();
    const longest = new Map<number, number>();
    for (const [i, { text }] of texts.entries()) {
      const best = longest.get(clusters[i]!);
      if (best === undefined || text.length > texts[best]!.text.length) longest.set(clusters[i]!, i);
    }
    expect(kept).toEqual([...longest.values()].sort((a, b) => a - b).map((i) => texts[i]));
  });

  test.each([
    ['64 bits', 64, 14, 8, 0.7],
    ['32 bits', 32, 14, 8, 0.8],
    ['other bands', 64, 20, 5, 0.5],
  ] as const)('sets of similarity s meet with probability 1 − (1 − s^r)^b: %s', (_, precision, bands, rows, s) => {
    const random = createRandom(7, 'sets', precision, bands);
    const hasher = minHasher(bands * rows, 3, precision);
    const [size, pairs] = [60, 300];
    // |A ∩ B| / |A ∪ B| = s with unions of `size` elements.
    const shared = Math.round(size * s);
    const words = (count: number) => Array.from({ length: 2 * count }, () => random.uint32());
    let met = 0;
    for (let pair = 0; pair < pairs; pair++) {
      const common = words(shared);
      const own = Math.floor((size - shared) / 2);
      const a = Buffer.from(hasher.signature(Uint32Array.from([...common, ...words(own)])));
      const b = hasher.signature(Uint32Array.from([...common, ...words(size - shared - own)]));
      const bytes = (rows * precision) / 8;
      const agrees = (band: number) =>
        a.compare(b, band * bytes, (band + 1) * bytes, band * bytes, (band + 1) * bytes) === 0;
      if (Array.from({ length: bands }, (_, band) => band).some(agrees)) met++;
    }
    const expected = 1 - (1 - (shared / size) ** rows) ** bands;
    expect(Math.abs(met / pairs - expected)).toBeLessThan(4 * Math.sqrt((expected * (1 - expected)) / pairs));
  });

  test('a text shorter than a shingle is kept, equal ones too, and counted', async () => {
    const run = pipeline([{ text: 'so short' }, { text: 'so short' }], [minhashDeduplicate<{ text: string }>()]);
    expect(await run.collect()).toHaveLength(2);
    expect(run.report()[0]!.warnings).toEqual({ 'fewer words than a shingle has: compared with nothing': 2 });
  });

  test.each([
    ['a text that is none', [{ text: 1 }], {}, /row 1, field "text": must be a text/],
    ['a score that is none', [{ text: 'a' }], { score: () => Number.NaN }, /"score" must give a number/],
    ['an unknown option', [], { nGrams: 4 } as object, /nGrams.*ngrams/],
  ])('%s is an error', async (_, rows, options, message) => {
    const error = await errorOf(async () => pipeline<Row>(rows, [minhashDeduplicate(options)]).collect());
    expect(error.message).toMatch(message);
  });
});

describe('semDeDup', () => {
  interface Point {
    readonly text: string;
  }
  const planted = JSON.parse(
    readFileSync(new URL('../../../goldens/semdedup/semdedup.json', import.meta.url), 'utf8'),
  ) as {
    readonly vectors: readonly number[][];
    readonly cases: { clusters: number; keep: 'hard' | 'easy'; epsilon: number; kept: number[] }[];
  };
  const embedder = {
    name: 'planted',
    embed: async (given: readonly string[]) => given.map((text) => Float32Array.from(planted.vectors[Number(text)]!)),
  };
  const points: Point[] = planted.vectors.map((_, i) => ({ text: String(i) }));
  const cosine = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, x, i) => sum + x * b[i]!, 0) / Math.hypot(...a) / Math.hypot(...b);

  test.each(planted.cases)(
    'keeps what the authors’ rule does: $clusters, $keep, $epsilon',
    async ({ kept, ...options }) => {
      const rows = await pipeline(points, [semDeDup<Point>({ embedder, ...options })], { seed: 1 }).collect();
      expect(rows.map(({ text }) => Number(text))).toEqual(kept);
    },
  );

  test.each([1, 2, 3])(
    'no two kept are alike, and whatever is dropped is like another, by all pairs (seed %i)',
    async (seed) => {
      const random = createRandom(seed);
      const vectors = Array.from({ length: 60 }, (_, i) =>
        i % 3 === 2 ? undefined : [0, 1, 2, 3].map(() => random.float() - 0.5),
      );
      // A third are copies, of another length: the same to a cosine.
      const all = vectors.map((vector, i) => vector ?? vectors[i - 2]!.map((x) => 3 * x));
      const embed = async (given: readonly string[]) => given.map((text) => Float32Array.from(all[Number(text)]!));
      const rows = all.map((_, i) => ({ text: String(i) }));
      const kept = await pipeline(rows, [
        semDeDup<Point>({ embedder: { name: 'e', embed }, clusters: 1, epsilon: 1e-4, keep: 'first' }),
      ]).collect();
      expect(kept.map(({ text }) => Number(text))).toEqual(all.flatMap((_, i) => (i % 3 === 2 ? [] : [i])));
      const loose = await pipeline(rows, [
        semDeDup<Point>({ embedder: { name: 'e', embed }, clusters: 1, epsilon: 0.1 }),
      ]).collect();
      const left = loose.map(({ text }) => all[Number(text)]!);
      for (const [i, a] of left.entries())
        for (const b of left.slice(0, i)) expect(cosine(a, b)).toBeLessThan(0.9 + 1e-6);
      for (const a of all) expect(left.includes(a) || all.some((b) => b !== a && cosine(a, b) > 0.9)).toBe(true);
    },
  );

  test('a run that was killed goes on after its plan, and shards give what one gives', async () => {
    const whole = semantic();
    const expected = await whole.collect();
    expect(whole.report()[0]!.reasons['semantic duplicate']).toBeGreaterThan(3);
    const script = fileURLToPath(new URL('./minhash-run.ts', import.meta.url));
    const args = ['--import', 'tsx', script, path('work'), 'semantic', '0', '1'];
    expect(() => execFileSync(process.execPath, args, { stdio: 'pipe' })).toThrow(
      expect.objectContaining({ signal: 'SIGKILL' }),
    );
    const resumed = semantic({ workFolder: path('work') });
    expect(await resumed.collect()).toEqual(expected);
    expect(resumed.report()).toEqual(whole.report());
    const shards = [0, 1, 2].map((rank) =>
      semantic({ workFolder: path('shards'), shards: { rank, world: 3 } }).collect(),
    );
    const key = ({ text }: Point) => text;
    expect((await Promise.all(shards)).flat().map(key).sort()).toEqual(expected.map(key).sort());
  });

  test.each([
    ['leaves texts out', async () => [], /gave 0 vectors for 2 texts/],
    ['gives other lengths', async () => [new Float32Array(2), new Float32Array(3)], /vectors of 2 and of 3 numbers/],
    ['gives vectors of nothing', async () => [[], []] as never, /vectors without numbers/],
    ['gives null for one', async () => [new Float32Array(1), null] as never, /something that is no vector/],
    ['gives too large numbers', async () => [[1e300], [1]] as never, /no number of float32/],
    [
      'gives no numbers',
      async () => [new Float32Array([Number.NaN]), new Float32Array(1)],
      /that is no number of float32/,
    ],
  ])('an embedder that %s is an error', async (_, embed, message) => {
    const step = semDeDup<Point>({ embedder: { ...letterCounts, embed } });
    const error = await errorOf(async () => pipeline([{ text: 'a' }, { text: 'b' }], [step]).collect());
    expect(error.message).toMatch(message);
  });
});

describe('exactSubstringDeduplicate', () => {
  const keys = (): DataStep<object> => ({
    name: 'keys',
    async *apply(given, context) {
      for await (const row of given) {
        const { id, lineage } = context.keyOf(row);
        yield context.derive({ id, lineage: lineage.length, row }, row);
      }
    },
  });
  interface Text {
    readonly text: string;
  }
  const golden = JSON.parse(
    readFileSync(new URL('../../../goldens/exact-substring/exact-substring.json', import.meta.url), 'utf8'),
  ) as { readonly length: number; readonly texts: readonly string[]; readonly left: readonly string[] };
  const { length } = golden;
  const rows: readonly Text[] = golden.texts.map((text) => ({ text }));

  test('leaves what a suffix array leaves', async () => {
    const run = pipeline(rows, [exactSubstringDeduplicate<Text>({ length })]);
    const left = golden.left.filter((text) => text.trim() !== '');
    expect((await run.collect()).map(({ text }) => text)).toEqual(left);
    expect(run.report()[0]!.reasons).toEqual({ 'all of its text was there before': golden.left.length - left.length });
  });

  test.each([1, 2, 3])('cuts out what a search of the text before finds, on disk too (seed %i)', async (seed) => {
    const random = createRandom(seed);
    const letters = () => Array.from({ length: 160 }, () => 'abc'[random.integer(0, 2)]!).join('');
    const source = Array.from({ length: 24 }, () => ({ text: letters() }));
    const run = pipeline(source, [exactSubstringDeduplicate<Text>({ length: 8, memoryBytes: 2 ** 16 })]);
    const whole = source.map(({ text }) => text).join('|');
    let begin = 0;
    const expected = source.map(({ text }) => {
      const gone = new Set<number>();
      for (let start = 0; start + 8 <= text.length; start++) {
        if (whole.indexOf(text.slice(start, start + 8)) + 8 > begin + start) continue;
        for (let i = start; i < start + 8; i++) gone.add(i);
      }
      begin += text.length + 1;
      return [...text].filter((_, i) => !gone.has(i)).join('');
    });
    expect((await run.collect()).map(({ text }) => text)).toEqual(expected.filter((text) => text !== ''));
    const unchanged = await pipeline(source, [exactSubstringDeduplicate<Text>({ length: 100 })]).collect();
    expect(unchanged).toEqual(source);
  });

  test('leaves no half of a character of two units', async () => {
    const cutOf = async (texts: readonly string[]) => {
      const step = exactSubstringDeduplicate<Text>({ length: 3 });
      const left = await pipeline(
        texts.map((text) => ({ text })),
        [step],
      ).collect();
      return left.map(({ text }) => text);
    };
    // Of both emojis the first unit is the same.
    expect(await cutOf(['ab\u{1F600}', 'xab\u{1F601}'])).toEqual(['ab\u{1F600}', 'x\u{1F601}']);
    // And here the second.
    expect(await cutOf(['\u{1F600}ab', '\u{1FA00}abx'])).toEqual(['\u{1F600}ab', '\u{1FA00}x']);
    expect(await cutOf(['a\u{1F600}b', 'a\u{1F600}bx'])).toEqual(['a\u{1F600}b', 'x']);
  });

  test('rows keep their ids and other columns, and say what they were made of', async () => {
    const shared = 'said in both of them';
    const source = [
      { text: shared, n: 1 },
      { text: `first ${shared} last`, n: 2 },
    ];
    const kept = await pipeline(source, [exactSubstringDeduplicate({ length: 15 }), keys()]).collect();
    expect(kept).toEqual([
      { id: '0', lineage: 0, row: source[0] },
      { id: '1', lineage: 1, row: { text: 'first  last', n: 2 } },
    ]);
  });
});

describe('stages', () => {
  test.each<[Fatal, string[]]>([
    ['stage 1', []],
    ['plan 1', ['stage-0.json', 'stage-0.rows']],
    ['stage 2', ['stage-0.json', 'stage-0.rows']],
    ['plan 2', ['stage-0.json', 'stage-0.rows', 'stage-1.json', 'stage-1.rows']],
    ['stage 3', ['stage-0.json', 'stage-0.rows', 'stage-1.json', 'stage-1.rows']],
  ])(
    'a run killed in %s goes on after the last finished stage, with equal rows and counts',
    async (fatal, finished) => {
      const whole = deduplication();
      const expected = await whole.collect();
      const script = fileURLToPath(new URL('./minhash-run.ts', import.meta.url));
      expect(() =>
        execFileSync(process.execPath, ['--import', 'tsx', script, path('work'), fatal, '0', '1'], { stdio: 'pipe' }),
      ).toThrow(expect.objectContaining({ signal: 'SIGKILL' }));
      const left = readdirSync(path('work', 'shards-1', 'rank-0')).filter((name) => name.startsWith('stage'));
      expect(left.sort()).toEqual(finished);
      const places = new Set<Fatal>();
      const hidden = () => readdirSync(path('work', 'shards-1', 'rank-0')).filter((name) => name.startsWith('.'));
      const resumed = deduplication({ workFolder: path('work') }, (place) => places.add(place));
      expect(await resumed.collect()).toEqual(expected);
      expect(resumed.report()).toEqual(whole.report());
      expect(resumed.warnings()).toEqual([]);
      expect(hidden()).toEqual([]);
      const all: Fatal[] = ['stage 1', 'plan 1', 'stage 2', 'plan 2', 'stage 3'];
      expect([...places]).toEqual(all.slice(all.indexOf(fatal)));
    },
  );

  test('four shards give what one gives', async () => {
    const expected = await deduplication().collect();
    const parts = await Promise.all(
      [0, 1, 2, 3].map((rank) => deduplication({ workFolder: path('work'), shards: { rank, world: 4 } }).collect()),
    );
    const byText = (a: { text: string }, b: { text: string }) => (a.text < b.text ? -1 : 1);
    expect(parts.flat().sort(byText)).toEqual([...expected].sort(byText));
    expect(parts.every(({ length }) => length > 0 && length < expected.length)).toBe(true);
  });

  const module = new URL('./minhash-run.ts', import.meta.url);
  const processes = { world: 3, execArgv: ['--import', 'tsx'] };

  test('shards in processes of their own give what one gives', async () => {
    const parts = await runShards<Row[]>(module, { ...processes, input: { workFolder: path('work') } });
    const inOne = (await deduplication().collect()).map(({ text }) => text);
    expect(
      parts
        .flat()
        .map(({ text }) => text)
        .sort(),
    ).toEqual(inOne.sort());
  });

  test('where a shard fails, those that wait for it are stopped', async () => {
    const failing = runShards(module, { ...processes, input: { workFolder: path('work'), fatal: 1 } });
    await expect(failing).rejects.toMatchObject({
      code: 'SHARD_FAILED',
      message: expect.stringMatching(/shard 1 of 3 .*rank 1 is ill/),
    });
    await expect(runShards(module, { ...processes, name: 'none' })).rejects.toThrow(/exports no function "none"/);
  });

  test('a shard that waits for one that never comes says for whom, and what to do', async () => {
    for (const [rank, whom] of [
      [0, /rank 0 has waited 1 s for stage 1 of rank 1 of 2\. Start those/],
      [1, /rank 1 has waited 1 s for the plan of step "count", which rank 0 of 2 makes/],
    ] as const) {
      const run = pipeline<Row>(numbered(3), [counting('1')], {
        ...{ workFolder: path(`work-${rank}`), shards: { rank, world: 2 }, waitSeconds: 1 },
      });
      expect((await errorOf(() => run.collect())).message).toMatch(whom);
    }
  });

  test('hashes of shingles of any length are those of SHA-1', () => {
    const texts = Array.from({ length: 140 }, (_, length) => [...'aé€😀xyz'.repeat(20)].slice(0, length).join(''));
    const hashes = hashShingles(texts);
    for (const [i, text] of texts.entries()) {
      const digest = createHash('sha1').update(text).digest();
      expect([hashes[2 * i + 1], hashes[2 * i]]).toEqual([digest.readUInt32LE(0), digest.readUInt32LE(4)]);
    }
  });

  test('what does not fit into memory is sorted on disk', async () => {
    const random = createRandom(1);
    const given = Array.from({ length: 5000 }, () => random.integer(0, 3000));
    const records = new SortedRecords({ recordBytes: 4, memoryBytes: 400, folder: async () => path() });
    for (const value of given) await records.add(Buffer.from([0, 0, value >> 8, value & 255]));
    expect(readdirSync(path()).length).toBeGreaterThan(40);
    const sorted: number[] = [];
    for await (const record of records.sorted()) sorted.push(record.readUInt32BE());
    expect(sorted).toEqual(given.sort((a, b) => a - b));
  });

  test('a changed step, source or seed makes its stage anew, and a warning names it', async () => {
    const run = async (version: string, source: object[], options: object = {}) => {
      const log: string[] = [];
      const made = pipeline(source, [map('same', same), counting(version, log), map('again', same)], {
        workFolder: path('work'),
        ...options,
      });
      expect(await made.collect()).toEqual(source.map((row) => ({ ...row, count: source.length })));
      return [log, made.warnings().join(' ')] as const;
    };
    expect(await run('1', numbered(3))).toEqual([['plan'], '']);
    expect(await run('1', numbered(3))).toEqual([[], '']);
    const [again, why] = await run('2', numbered(3));
    expect(again).toEqual(['plan']);
    expect(why).toBe('the plan of step "count" is made anew: step 2 was count 1 and is count 2.');
    const [planned, warned] = await run('2', numbered(4));
    expect(planned).toEqual(['plan']);
    expect(warned).toMatch(/stage 1 is made anew: source was [0-9a-f]{16} \(3 rows\) and is [0-9a-f]{16} \(4 rows\)\./);
    expect((await run('2', numbered(4), { seed: 5 }))[1]).toMatch(/seed was 0 and is 5/);
    expect(await run('2', numbered(4), { seed: 5, resume: false })).toEqual([['plan'], '']);
  });

  test.each([
    ['an array', () => numbered(5)],
    ['a generator', () => numbered(5).values()],
    ['a function', () => () => numbered(5)],
  ])('%s that has changed is read again from its start', async (_, source) => {
    const steps = [map('same', same), counting('1')] as const;
    await pipeline(numbered(4), steps, { workFolder: path('work') }).collect();
    const run = pipeline<Row>(source(), steps, { workFolder: path('work') });
    expect(await run.collect()).toEqual(numbered(5).map((row) => ({ ...row, count: 5 })));
    expect(run.warnings()).toHaveLength(1);
  });

  test('a source that is not read to its end is known by what was read', async () => {
    async function* endless(): AsyncGenerator<{ i: number }> {
      for (let i = 0; ; i++) yield { i };
    }
    const run = () => pipeline(endless(), [take(3), counting('1')], { workFolder: path('work') });
    const expected = numbered(3).map((row) => ({ ...row, count: 3 }));
    expect(await run().collect()).toEqual(expected);
    const again = run();
    expect(await again.collect()).toEqual(expected);
    expect(again.warnings()).toEqual([]);
  });

  test('rows on disk keep dates, bigints, bytes and NaN', async () => {
    const rows = [
      { when: new Date(5), big: 2n ** 70n, bytes: new Uint8Array([1, 2]), odd: Number.NaN, none: undefined },
    ];
    const step = { ...counting('1'), passes: true, apply: (given: AsyncIterable<object>) => given };
    // Of an array nothing is written where no folder is asked for.
    expect(await pipeline<Row>(rows.values(), [step]).collect()).toEqual(rows);
    const unwritable = await errorOf(() => pipeline<Row>([{ f: () => 1 }].values(), [step]).collect());
    expect(unwritable.message).toMatch(/row 1: the row cannot be written to the work folder/);
  });

  test('rows keep their ids and say what they were', async () => {
    const seen: unknown[] = [];
    const halves: DataStep<{ text: string }, { half: string }> = {
      name: 'halves',
      version: '1',
      async *apply(rows, context) {
        for await (const row of rows) {
          const parts = [row.text.slice(0, 2), row.text.slice(2)];
          for (const [i, half] of parts.entries()) yield context.derive({ half }, row, i);
        }
      },
    };
    const run = pipeline(
      [{ text: 'abcd' }, { text: 'efgh' }],
      [
        map('upper', ({ text }: { text: string }) => ({ text: text.toUpperCase() })),
        halves,
        filter('late', ({ half }: { half: string }) => half > 'D'),
      ],
      { id: (_, position) => `doc${position}`, onDrop: ({ row, key, reason }) => seen.push([row, key, reason]) },
    );
    const typed: { half: string }[] = await run.collect();
    expect(typed).toEqual([{ half: 'EF' }, { half: 'GH' }]);
    const lineage = [
      { step: 'upper', from: ['doc0'] },
      { step: 'halves', from: ['doc0'] },
    ];
    expect(seen).toEqual([
      [{ half: 'AB' }, { id: 'doc0/0', position: 0, lineage }, 'late'],
      [{ half: 'CD' }, { id: 'doc0/1', position: 0, lineage }, 'late'],
    ]);
  });

  test('types go through the steps, and a step that does not fit is an error', () => {
    const source = [{ text: 'a', n: 1 }];
    const kept: AsyncIterable<{ text: string; n: number }> = pipeline(source, [
      filter('short', ({ text }: { text: string }) => text.length < 9),
      shuffle({ seed: 1 }),
    ]).rows;
    const mapped: AsyncIterable<{ size: number }> = pipeline(source, [
      filter('short', ({ text }: { text: string }) => text.length < 9),
      map('size', ({ text }: { text: string }) => ({ size: text.length })),
    ]).rows;
    // @ts-expect-error the rows have no column `prompt`
    const wrong: AsyncIterable<{ text: string }> = pipeline(source, [
      filter('p', (row: { prompt: string }) => row.prompt > ''),
    ]).rows;
    expect([kept, mapped, wrong]).toHaveLength(3);
  });

  test.each(['rows', 'plan'] as const)('the signal stops it in its %s, and what was finished stays', async (where) => {
    const controller = new AbortController();
    const stop = (row: object) => {
      controller.abort(new Error('enough'));
      return { ...row };
    };
    const planned: DataStep<object, object, null> = {
      name: 'planned',
      version: '1',
      async plan(rows) {
        for await (const row of rows) if (where === 'plan') stop(row);
        return null;
      },
      apply: (rows) => rows,
    };
    const steps = [map('first', where === 'rows' ? stop : same), planned];
    const error = await errorOf(() =>
      pipeline<Row>(numbered(3), steps, { workFolder: path('work'), signal: controller.signal }).collect(),
    );
    expect(error).toMatchObject({ code: 'PIPELINE_ABORTED', cause: new Error('enough') });
    expect(existsSync(path('work', 'shards-1', 'rank-0', 'stage-0.json'))).toBe(where === 'plan');
  });

  test('a step has random numbers by label, a folder of its own, and only keys of its rows', async () => {
    const drawn: number[][] = [];
    let folder = '';
    const step = (use: DataStep<object>['apply']): DataStep<object> => ({ name: 'own', version: '1', apply: use });
    const draw = step(async function* (rows, context) {
      drawn.push(['a', 'a', 'b'].map((label) => context.random(label).uint32()));
      folder = await context.scratch();
      expect(existsSync(folder)).toBe(true);
      yield* rows;
    });
    await pipeline<Row>(numbered(2), [draw]).collect();
    await pipeline<Row>(numbered(2), [draw], { seed: 1 }).collect();
    expect(drawn[0]![0]).toBe(drawn[0]![1]);
    expect(new Set(drawn.flat()).size).toBe(4);
    expect(existsSync(folder)).toBe(false);
    const strange = step(async function* (_, context) {
      context.keyOf({});
      yield {};
    });
    await expect(pipeline<Row>(numbered(1), [strange]).collect()).rejects.toThrow(/no row of this pipeline/);
    const dropping: DataStep<object, object, void> = {
      ...counting('1'),
      async plan(rows, context) {
        for await (const row of rows) context.drop(row, 'early');
      },
      apply: (rows) => rows,
    };
    await expect(pipeline<Row>(numbered(1), [dropping]).collect()).rejects.toThrow(/a plan drops no rows/);
  });

  test.each([
    ['shards without a folder', { shards: { rank: 0, world: 2 } }, /give all of them the same "workFolder"/],
    ['a rank that is none', { shards: { rank: 2, world: 2 } }, /shards is .* rank from 0 to world − 1/],
    ['an id that is no text', { id: () => 1 as unknown as string }, /"id" must give a text/],
  ])('%s is an error', async (_, options, message) => {
    const error = await errorOf(async () => pipeline<Row>(numbered(2), [counting('1')], options).collect());
    expect(error.message).toMatch(message);
  });
});
