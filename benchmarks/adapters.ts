/**
 * Rows with different adapters in one pass against a pass per adapter: `npx tsx benchmarks/adapters.ts [MODEL RANK STEPS]`.
 * 16 rows generate, LoRA on every linear layer, random weights and adapters. The other side has a runner per adapter, so
 * that each reads its rows from a copy of its own, as the one runner does. Steps of the two take turns; medians are given.
 */
import { Key, setEngine, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { type ExtendInput, ModelRunner, type ModelRunnerOptions } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter, withAdapterParameters } from '@posttrain/peft';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { randomModel } from './random-model.js';

const ROWS = 16;
const PROMPT = 32;
const OPTIONS: ModelRunnerOptions = { cacheTokens: 16_384, prefixReuse: false, packWeights: false };

const [name = '135m', rank = '16', steps = '24'] = process.argv.slice(2);
setEngine(onnxruntimeEngine({ threads: 2 }));
const model = await randomModel(MODEL_CONFIGS[name as ModelName]);

/** One with numbers that are not zero, so that it does something. */
async function randomAdapter(seed: number): Promise<PeftAdapter> {
  const config = { r: Number(rank), targetModules: 'all-linear', initLoraWeights: false };
  const adapter = await createAdapter(model, lora, config, { seed });
  const parameters = Object.entries(adapter.parameters).map(([key, { size, shape }], i) => {
    const numbers = Key.fromSeed(seed).child(i).normalHost(size);
    return [
      key,
      tensor(
        Float32Array.from(numbers, (x) => 0.02 * x),
        shape,
      ),
    ] as const;
  });
  return withAdapterParameters(adapter, Object.fromEntries(parameters));
}

interface Side {
  step(): Promise<Float32Array[]>;
}

/** Rows with a prompt behind them, each group in a runner of its own. */
async function side(groups: readonly (readonly { readonly row: number; readonly adapter: PeftAdapter }[])[]) {
  const runs = groups.map((members) => {
    const runner = new ModelRunner(model, OPTIONS);
    const sequences = members.map(() => runner.start());
    const extend = (tokensOf: (row: number) => number[]) =>
      runner.extend(
        members.map(
          ({ row, adapter }, i): ExtendInput => ({ sequence: sequences[i]!, tokens: tokensOf(row), adapter }),
        ),
      );
    return { members, extend };
  });
  for (const { extend } of runs) await extend((row) => Array.from({ length: PROMPT }, (_, t) => (31 * t + row) % 97));
  let token = 0;
  const made: Side = {
    async step() {
      token++;
      const logits: Float32Array[] = [];
      for (const { members, extend } of runs) {
        const results = await extend((row) => [(token + row) % 97]);
        for (const [i, { row }] of members.entries()) logits[row] = results[i]!.logits[0]!.slice(0, 16);
      }
      return logits;
    },
  };
  // Compiles, and copies the rows.
  for (let i = 0; i < 3; i++) await made.step();
  return made;
}

const timed = async (run: () => Promise<Float32Array[]>): Promise<{ seconds: number; logits: Float32Array[] }> => {
  const start = performance.now();
  const logits = await run();
  return { seconds: (performance.now() - start) / 1000, logits };
};

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

const adapters: PeftAdapter[] = [];
for (let i = 0; i < 8; i++) adapters.push(await randomAdapter(i + 1));

console.log(
  `${name}, LoRA of rank ${rank}, ${ROWS} rows after ${PROMPT} tokens; medians of ${steps} steps that take turns`,
);
for (const count of [1, 2, 4, 8]) {
  const rows = Array.from({ length: ROWS }, (_, row) => ({ row, adapter: adapters[row % count]! }));
  const together = await side([rows]);
  const apart = await side(adapters.slice(0, count).map((adapter) => rows.filter((row) => row.adapter === adapter)));
  const seconds: [number[], number[]] = [[], []];
  let worst = 0;
  for (let i = 0; i < Number(steps); i++) {
    const [one, many] = [await timed(together.step), await timed(apart.step)];
    seconds[0].push(one.seconds);
    seconds[1].push(many.seconds);
    one.logits.forEach((row, r) => {
      row.forEach((x, v) => {
        worst = Math.max(worst, Math.abs(x - many.logits[r]![v]!));
      });
    });
  }
  const [one, many] = seconds.map(median) as [number, number];
  const ratio = median(seconds[1].map((x, i) => x / seconds[0][i]!));
  const speed = (x: number) => (ROWS / x).toFixed(1);
  console.log(
    `${count} adapters: one pass ${speed(one)} tokens/s, a pass each ${speed(many)}; ${ratio.toFixed(2)}× (logits differ by at most ${worst.toExponential(1)})`,
  );
}
