import { readFileSync } from 'node:fs';
import type { Embedder } from '@posttrain/interfaces';
import {
  type DataStep,
  map,
  minhashDeduplicate,
  type Pipeline,
  pipeline,
  type ShardTask,
  semDeDup,
} from '../src/index.js';

export interface Text {
  readonly text: string;
}

const golden = JSON.parse(readFileSync(new URL('../../../goldens/minhash/minhash.json', import.meta.url), 'utf8')) as {
  readonly texts: readonly string[];
  readonly clusters: readonly number[];
};
export const texts: readonly Text[] = golden.texts.map((text) => ({ text }));
/** Of each text, the first one of its cluster, by the golden. */
export const clusters = golden.clusters;

/** Where a run kills itself: in a stage's rows, in a plan, or in the rows that come out. */
export type Fatal = 'stage 1' | 'plan 1' | 'stage 2' | 'plan 2' | 'stage 3' | 'never';

// Known by its settings: the text of a function is another one when another compiler has written it.
const longerFirst = Object.assign(({ text }: Text) => text.length, { settings: { by: 'length' } });

/** Three stages, with two plans; every part of it calls `at` with its place and how many rows it has seen. */
export function deduplication(
  options: Parameters<typeof pipeline>[2] = {},
  at: (place: Fatal, seen: number) => void = () => {},
): Pipeline<Text & { length: number }> {
  let seen = 0;
  const step = minhashDeduplicate<Text>();
  const watched: typeof step = {
    ...step,
    plan: (rows, context) => step.plan!(counted(rows, 'plan 1'), context),
    apply: (rows, context, plan) => step.apply(counted(rows, 'stage 2'), context, plan),
  };
  const best = minhashDeduplicate<Text>({ score: longerFirst, bands: 30, rows: 4, memoryBytes: 2 ** 16 });
  const again: typeof best = {
    ...best,
    plan: (rows, context) => best.plan!(counted(rows, 'plan 2'), context),
    apply: (rows, context, plan) => best.apply(counted(rows, 'stage 3'), context, plan),
  };
  async function* counted<R>(rows: AsyncIterable<R>, place: Fatal): AsyncGenerator<R> {
    let count = 0;
    for await (const row of rows) {
      at(place, ++count);
      yield row;
    }
  }
  const measure = (row: Text) => {
    at('stage 1', ++seen);
    return { ...row, length: row.text.length };
  };
  const measured: DataStep<Text, Text & { length: number }> = map('measure', measure, { version: '1' });
  return pipeline(texts, [measured, watched, again], options);
}

/** How often each letter is in a text. */
export const letterCounts: Embedder = {
  name: 'letter counts',
  embed: async (given) =>
    given.map((text) => {
      const counts = new Float32Array(26);
      for (const letter of text) {
        const at = letter.charCodeAt(0) - 97;
        if (at >= 0 && at < 26) counts[at]!++;
      }
      return counts;
    }),
};

/** SemDeDup of the same texts; `at` is called as above. */
export function semantic(
  options: Parameters<typeof pipeline>[2] = {},
  at: (seen: number) => void = () => {},
): Pipeline<Text> {
  const step = semDeDup<Text>({ embedder: letterCounts, epsilon: 0.03, clusters: 4, batchSize: 5 });
  async function* counted(rows: AsyncIterable<Text>): AsyncGenerator<Text> {
    let count = 0;
    for await (const row of rows) {
      at(++count);
      yield row;
    }
  }
  return pipeline(texts, [{ ...step, apply: (rows, context, plan) => step.apply(counted(rows), context, plan) }], {
    seed: 4,
    ...options,
  });
}

/** One shard in a process of its own: its rows, or an error where `fatal` says so. */
export async function shard({ shards, input, signal }: ShardTask<{ workFolder: string; fatal?: number }>) {
  const at = (place: Fatal): void => {
    if (place === 'stage 2' && input.fatal === shards.rank) throw new Error(`rank ${shards.rank} is ill`);
  };
  return deduplication({ workFolder: input.workFolder, shards, signal }, at).collect();
}

// Run as a program: kills itself, without notice, in the named place.
const [folder, fatal, rank, world] = process.argv.slice(2);
if (process.argv[1]?.endsWith('minhash-run.ts') && folder !== undefined) {
  const kill = (): void => void process.kill(process.pid, 'SIGKILL');
  const options = { workFolder: folder, shards: { rank: Number(rank), world: Number(world) } };
  if (fatal === 'semantic') await semantic(options, (seen) => seen === 8 && kill()).collect();
  await deduplication(options, (place, seen) => place === fatal && seen === 8 && kill()).collect();
}
