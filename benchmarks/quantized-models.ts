/**
 * What quantising and pruning cost a trained model: `npx tsx benchmarks/quantized-models.ts [CALIBRATION_ROWS] [NAMES]`, NAMES a regular expression. Prints the perplexity of
 * examples/pretrain-tiny's model on documents that it was not trained on, of each method beside what is done without looking; those
 * that look at inputs with three draws of calibration rows, as mean and range.
 */
import { join } from 'node:path';
import { CausalLM, type PruneOptions, sequenceLogProbs } from '@posttrain/lm';
import { loftq } from '@posttrain/peft';
import { documents } from '../examples/pretrain-tiny/corpus.js';

const COUNT = Number(process.argv[2] ?? 16);
const NAMES = new RegExp(process.argv[3] ?? '');
const SEEDS = [1, 2, 3];
const LENGTH = 128;

const model = await CausalLM.load(join(import.meta.dirname, '../examples/pretrain-tiny/model'));
const linear = [...model.network.modules.values()].filter(({ kind }) => kind === 'linear').length;

/** Rows of documents end to end, of 128 tokens. */
function rowsOf(seed: number, count: number): number[][] {
  const tokens: number[] = [];
  for (const document of documents(seed)) {
    if (tokens.length >= count * LENGTH) break;
    tokens.push(...model.tokenizer.encode(document));
  }
  return Array.from({ length: count }, (_, i) => tokens.slice(i * LENGTH, (i + 1) * LENGTH));
}
const heldOut = rowsOf(2 ** 31 - 1, 64);

async function perplexity(of: CausalLM, adapter?: Awaited<ReturnType<typeof loftq>>['adapter']): Promise<number> {
  const scored = await sequenceLogProbs(of, heldOut, adapter ? { adapter } : {});
  const all = scored.flatMap(({ logProbs }) => [...logProbs]);
  return Math.exp(-all.reduce((sum, x) => sum + x, 0) / all.length);
}

const show = (x: number): string => x.toFixed(4);
function row(name: string, bits: string, values: readonly number[]): void {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const range = values.length > 1 ? ` (${show(Math.min(...values))}–${show(Math.max(...values))})` : '';
  console.log(`| ${name} | ${bits} | ${show(mean)}${range} |`);
}

type Quantization = Parameters<CausalLM['quantize']>[0];
type Calibrated = { readonly rows: readonly (readonly number[])[] };
const calibrations = SEEDS.map((seed): Calibrated => ({ rows: rowsOf(seed, COUNT) }));

const QUANTIZED: Readonly<Record<string, Quantization | ((given: Calibrated) => Quantization)>> = {
  'int4, blocks of 128': { method: 'int4', blockSize: 128 },
  'hqq, groups of 128, without its rounds': { method: 'hqq', groupSize: 128, iterations: 0 },
  'hqq, groups of 128': { method: 'hqq', groupSize: 128 },
  'awq, groups of 128': ({ rows }) => ({ method: 'awq', rows }),
  'awq, groups of 128, no clipping': ({ rows }) => ({ method: 'awq', rows, clip: false }),
  'gptq, groups of 128': ({ rows }) => ({ method: 'gptq', rows }),
  nf4: { method: 'nf4' },
  'int8, threshold 0': { method: 'int8', threshold: 0 },
  smoothquant: ({ rows }) => ({ method: 'smoothquant', rows }),
};
const PRUNED: Readonly<Record<string, (given: Calibrated) => PruneOptions>> = {
  'magnitude, half': () => ({ method: 'magnitude', sparsity: 0.5 }),
  'wanda, half': ({ rows }) => ({ method: 'wanda', sparsity: 0.5, rows }),
  'sparsegpt, half': ({ rows }) => ({ method: 'sparsegpt', sparsity: 0.5, rows }),
  'magnitude, 2 of 4': () => ({ method: 'magnitude', pattern: [2, 4] }),
  'wanda, 2 of 4': ({ rows }) => ({ method: 'wanda', pattern: [2, 4], rows }),
  'sparsegpt, 2 of 4': ({ rows }) => ({ method: 'sparsegpt', pattern: [2, 4], rows }),
};

console.log(`${linear} linear layers; ${COUNT} calibration rows of ${LENGTH} tokens, seeds ${SEEDS.join(', ')}\n`);
console.log('| weights | bits | perplexity |\n| --- | --- | --- |');
row('float32', '32', [await perplexity(model)]);
for (const [name, options] of Object.entries(QUANTIZED).filter(([key]) => NAMES.test(key))) {
  const all = typeof options === 'function' ? calibrations.map(options) : [options];
  const values: number[] = [];
  let bits = '';
  for (const given of all) {
    const quantized = await model.quantize(given);
    bits = quantized.storage.bitsPerParameter.toFixed(2);
    values.push(await perplexity(quantized));
  }
  row(name, bits, values);
}
for (const iterations of NAMES.test('LoftQ') ? [1, 5] : []) {
  const { model: base, adapter } = await loftq(
    model,
    { r: 8, loraAlpha: 8, targetModules: 'all-linear' },
    { iterations },
  );
  row(`nf4 with LoftQ, r = 8, ${iterations} rounds`, base.storage.bitsPerParameter.toFixed(2), [
    await perplexity(base, adapter),
  ]);
}
for (const [name, options] of Object.entries(PRUNED).filter(([key]) => NAMES.test(key))) {
  const given = name.startsWith('magnitude') ? calibrations.slice(0, 1) : calibrations;
  const values: number[] = [];
  for (const one of given) values.push(await perplexity(await model.prune(options(one))));
  row(name, '32', values);
}
