/**
 * What an adapter of each method costs in generation: `npx tsx benchmarks/adapter-speed.ts [MODEL STEPS [KIND …]]`.
 *
 * A step of one row and of 16 rows, processor time of the base over that with the adapter (1: as fast as the base); the same of the
 * model that the adapter is merged into, with the largest change of a logit by merging and of a weight by unmerging; and of one pass
 * with rows of this method, of LoRA and of the base. Steps take turns; medians. Random weights, one thread.
 */
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { isPosttrainError } from '@posttrain/interfaces';
import { type Adapter, adapterFor, type CausalLM, type ExtendInput, ModelRunner, NO_ADAPTER } from '@posttrain/lm';
import { mergeAdapter, type PeftAdapter, unmergeAdapter } from '@posttrain/peft';
import { ADAPTER_KINDS, adapterOfKind, inputsOfKind } from './adapter-kinds.js';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { median } from './compare.js';
import { randomModel } from './random-model.js';

const PROMPT = 32;
const [name = '10m', steps = '16', ...named] = process.argv.slice(2);
setEngine(onnxruntimeEngine({ threads: 1 }));
const model = await randomModel(MODEL_CONFIGS[name as ModelName]);
const lora = await adapterOfKind(model, 'LORA');
const shown = (value: number) => value.toFixed(2);

console.log(`${name}, prompt of ${PROMPT} tokens, ${steps} steps a side; base over adapter, processor time\n`);
console.log(
  '| method | trained | 1 row | 16 rows | 16 rows, with LoRA and base | merged, 16 rows | drift | unmerged |',
);
console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |');
for (const kind of named.length > 0 ? named : ADAPTER_KINDS)
  console.log(`| \`${kind}\` | ${(await lineOf(kind)).join(' | ')} |`);

async function lineOf(kind: string): Promise<string[]> {
  try {
    const adapter = await adapterOfKind(model, kind);
    const alone = [await ratio(model, [adapter]), await ratio(model, Array(16).fill(adapter))];
    const mix = Array.from({ length: 16 }, (_, i) => [adapter, lora, NO_ADAPTER][i % 3]!);
    const cells = [String(adapter.report.trainableParameters), ...[...alone, await ratio(model, mix)].map(shown)];
    return [...cells, ...(await merging(adapter))];
  } catch (error) {
    if (!isPosttrainError(error)) throw error;
    return [`not here: ${error.message.slice(0, 80)}`, '', '', '', '', '', ''];
  }
}

async function merging(adapter: PeftAdapter): Promise<string[]> {
  try {
    const { model: merged, drift } = await mergeAdapter(model, adapter);
    const share = await ratio(merged, Array(16).fill(NO_ADAPTER));
    return [shown(share), drift.toExponential(1), await unmerging(merged, adapter)];
  } catch (error) {
    if (isPosttrainError(error)) return ['no', '', ''];
    throw error;
  }
}

async function unmerging(merged: CausalLM, adapter: PeftAdapter): Promise<string> {
  try {
    const back = await unmergeAdapter(merged, adapter);
    let worst = 0;
    for (const [key, weight] of Object.entries(model.weights)) {
      worst = Math.max(worst, await back.weights[key]!.sub(weight).abs().max().item());
    }
    return worst === 0 ? 'exact' : worst.toExponential(1);
  } catch (error) {
    if (isPosttrainError(error)) return 'no';
    throw error;
  }
}

/** Time of a step of the base over one of these rows. */
async function ratio(other: CausalLM, adapters: readonly Adapter[]): Promise<number> {
  const sides = [await side(model, Array(adapters.length).fill(NO_ADAPTER)), await side(other, adapters)] as const;
  const ratios: number[] = [];
  for (let i = 0; i < Number(steps); i++) {
    const [base, own] = [await processorTime(sides[0]), await processorTime(sides[1])];
    ratios.push(base / own);
  }
  return median(ratios);
}

async function processorTime(step: () => Promise<void>): Promise<number> {
  const start = process.cpuUsage();
  await step();
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

/** Rows with a prompt behind them; a step adds a token to each. */
async function side(of: CausalLM, adapters: readonly Adapter[]): Promise<() => Promise<void>> {
  const runner = new ModelRunner(of, { cacheTokens: 16_384, prefixReuse: true, packWeights: false });
  const promptOf = (row: number) => Array.from({ length: PROMPT }, (_, t) => (31 * t + row) % 97);
  const rows = adapters.map((adapter, row) => {
    const inputs = 'report' in adapter ? inputsOfKind(adapter as PeftAdapter, PROMPT) : undefined;
    return { sequence: runner.start(), adapter: adapterFor(adapter, promptOf(row), inputs) };
  });
  const extend = (tokensOf: (row: number) => number[]) =>
    runner.extend(rows.map((one, row): ExtendInput => ({ ...one, tokens: tokensOf(row) })));
  await extend(promptOf);
  let token = 0;
  const step = async () => {
    token++;
    await extend((row) => [(token + row) % 97]);
  };
  // Compiles, and copies the rows.
  for (let i = 0; i < 3; i++) await step();
  return step;
}
