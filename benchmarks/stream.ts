/**
 * Rows that need not fit memory: writes a JSON Lines file, streams all of it, and trains a small model on its packed rows, while the resident
 * memory is watched. Both go on at their row: the stream from the middle, the run after it was stopped, to the same bytes.
 *
 * usage: npx tsx --expose-gc benchmarks/stream.ts [--rows 10000000] [--steps 200] [--folder DIR]
 *
 * 10 million rows take 0.6 GB of disk. The exit status is 1 where a row is missing, or what goes on is not what it would have been.
 */
import { createWriteStream } from 'node:fs';
import { cp, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { streamRows } from '@posttrain/data';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { type SftOptions, sft } from '@posttrain/training';

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    steps: { type: 'string', default: '200' },
    folder: { type: 'string' },
  },
});
const [count, steps] = [Number(flags.rows), Number(flags.steps)];
const folder = await mkdtemp(join(flags.folder ?? tmpdir(), 'stream-'));
process.once('exit', () => void rm(folder, { recursive: true, force: true }));
const path = join(folder, 'rows.jsonl');

const residentMb = () => process.memoryUsage.rss() / 2 ** 20;
const check = (holds: boolean, what: string) => {
  if (!holds) throw new Error(what);
};

/** Writes the file; gives its size in MB. */
async function write(): Promise<number> {
  const file = createWriteStream(path);
  const block = 10_000;
  for (let n = 0; n < count; n += block) {
    const size = Math.min(block, count - n);
    const row = (i: number) => `{"n":${i},"prompt":"${i % 97} + ${i % 89} = ","completion":"${(i % 97) + (i % 89)}"}\n`;
    const lines = Array.from({ length: size }, (_, i) => row(n + i)).join('');
    if (!file.write(lines)) await new Promise<void>((resolve) => file.once('drain', resolve));
  }
  file.end();
  await finished(file);
  return (await stat(path)).size / 2 ** 20;
}

/** Streams every row once; gives seconds, the resident memory by tenths of the file, and checks that it goes on in the middle. */
async function iterate() {
  const stream = await streamRows(path, { bufferSize: 2000 });
  const request = 1000;
  const middle = Math.floor(count / request / 2);
  let [sum, saved, after] = [0, '', ''];
  const resident: number[] = [];
  const began = performance.now();
  for (let i = 0; i < count / request; i++) {
    const rows = await stream.next({ count: request });
    for (const { row } of rows) sum += row.n as number;
    if (i === middle) saved = JSON.stringify(stream.state());
    if (i === middle + 1) after = JSON.stringify(rows);
    if ((i + 1) % Math.floor(count / request / 10) === 0) resident.push(Math.round(residentMb()));
  }
  const seconds = (performance.now() - began) / 1000;
  check(sum === (count * (count - 1)) / 2, `the rows add up to ${sum}`);
  const again = await streamRows(path, { bufferSize: 2000 });
  again.load(JSON.parse(saved));
  const sought = performance.now();
  check(JSON.stringify(await again.next({ count: request })) === after, 'a stream that goes on gives other rows');
  return { seconds, resident, seekMilliseconds: performance.now() - sought };
}

/** Trains on packed rows; gives the resident memory by tenths of the run, and checks that a run that was stopped ends the same. */
async function train() {
  const tokenizer = await Tokenizer.load(join(import.meta.dirname, '../examples/pretrain-tiny/model'));
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: 103, hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2 },
    ...{ num_attention_heads: 4, max_position_embeddings: 128, eos_token_id: 5, tie_word_embeddings: false },
  });
  const model = await CausalLM.initialize({ config, tokenizer, name: 'small' }, 1);
  const resident: number[] = [];
  const run = async (name: string, options: Partial<SftOptions> = {}) =>
    sft({
      ...{ model, rows: await streamRows(path, { bufferSize: 2000 }), steps, batchSize: 8, learningRate: 3e-3 },
      ...{ packing: true, maxLength: 128, outputFolder: join(folder, name), saveSteps: steps / 2 },
      ...options,
    });
  const began = performance.now();
  const afterStep = ({ step }: { step: number }) => {
    if ((step + 1) % Math.max(1, Math.floor(steps / 10)) === 0) resident.push(Math.round(residentMb()));
  };
  const whole = await run('whole', { afterStep });
  const seconds = (performance.now() - began) / 1000;
  await cp(join(folder, `whole/checkpoint-${steps / 2}`), join(folder, `rest/checkpoint-${steps / 2}`), {
    recursive: true,
  });
  const rest = await run('rest', { resume: true });
  for (const [key, value] of Object.entries(whole.trainer.parameters)) {
    const [a, b] = await Promise.all([value.toArray(), rest.trainer.parameters[key]!.toArray()]);
    check(
      a.every((x, i) => x === b[i]),
      `${key} of a run that went on is another`,
    );
  }
  const { loss, num_tokens } = whole.history.at(-1)!.metrics;
  return { seconds, resident, loss, tokens: num_tokens };
}

setEngine(onnxruntimeEngine({ threads: 1 }));
const megabytes = await write();
globalThis.gc?.();
const before = Math.round(residentMb());
const read = await iterate();
const trained = await train();
console.log(`${count} rows, ${megabytes.toFixed(0)} MB of JSON Lines; resident before ${before} MB`);
console.log(
  `streaming all: ${read.seconds.toFixed(0)} s (${Math.round(count / read.seconds)} rows/s); resident MB by tenths: ${read.resident.join(' ')}; going on in the middle: ${read.seekMilliseconds.toFixed(0)} ms to the next rows, the same`,
);
console.log(
  `sft on packed rows, ${steps} steps, ${trained.tokens} trained tokens: ${trained.seconds.toFixed(0)} s; resident MB by tenths: ${trained.resident.join(' ')}; stopped in the middle it ends with the same weights, bit for bit`,
);
