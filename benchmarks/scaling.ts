/**
 * Time of a LoRA training step against sequence length, batch and depth (the 10M model's width), with the exponent of
 * time ∝ size^exponent fitted on the logarithms, and a picture.
 *
 * usage: npx tsx benchmarks/scaling.ts [--repetitions 7] [--threads 2] [--lengths 64,128,256,512,1024] [--batches 1,2,4,8,16]
 *   [--depths 2,4,8,16] [--output benchmarks/scaling.svg]
 *
 * A point is the median of its repetitions, which are taken in turns over all sizes of a curve. Fixed while another is
 * varied: 256 tokens, 4 rows, 8 layers.
 */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { MODEL_CONFIGS, randomTokens } from './cases.js';
import { median } from './compare.js';
import { fitPowerLaw } from './fit.js';
import { stepFlops } from './flops.js';
import { readOutput, writeOutput } from './output-file.js';
import { type Curve, powerLawPicture } from './picture.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';
import { loraTrainer, type Step, trainerStep } from './steps.js';

const { values: flags } = parseArgs({
  options: {
    repetitions: { type: 'string', default: '7' },
    threads: { type: 'string', default: String(availableParallelism()) },
    lengths: { type: 'string', default: '64,128,256,512,1024' },
    batches: { type: 'string', default: '1,2,4,8,16' },
    depths: { type: 'string', default: '2,4,8,16' },
    output: { type: 'string' },
  },
});
const RANK = 16;
if (flags.output !== undefined) readOutput(flags.output);
const FIXED = { tokens: 256, batch: 4, layers: 8 };
type Size = typeof FIXED;

setEngine(onnxruntimeEngine({ threads: Number(flags.threads) }));
const sizes = (text: string) => text.split(',').map(Number);
const curves = [
  await measure('sequence length (tokens)', 'tokens', sizes(flags.lengths)),
  await measure('batch (rows)', 'batch', sizes(flags.batches)),
  await measure('depth (layers)', 'layers', sizes(flags.depths)),
];
console.log(
  `LoRA step of the 10M model, ${flags.threads} threads, median of ${flags.repetitions}, load ${loadavg()[0]!.toFixed(1)}`,
);
const headings = ['varied', 'size', 'time, s', 'least', 'GFLOP/s', 'exponent of time', 'of operations'];
console.log(renderMarkdown([headings, ...curves.flatMap(rowsOf)]));
if (flags.output !== undefined) {
  await writeOutput(flags.output, powerLawPicture('LoRA step of the 10M model', 'seconds a step', curves));
}

interface MeasuredCurve extends Curve {
  readonly points: readonly { x: number; y: number; least: number; flops: number }[];
}

async function measure(name: string, varied: keyof Size, values: readonly number[]): Promise<MeasuredCurve> {
  const all = [];
  for (const value of values) {
    const size = { ...FIXED, [varied]: value };
    const config = { ...MODEL_CONFIGS['10m'], num_hidden_layers: size.layers };
    const flops = stepFlops(config, { rows: size.batch, tokens: size.tokens, rank: RANK });
    const step = await stepOf(config, size);
    // Compiles, and touches its memory.
    await step();
    await step();
    all.push({ x: value, flops, step, times: [] as number[] });
  }
  for (let i = 0; i < Number(flags.repetitions); i++) {
    for (const { step, times } of all) {
      const start = performance.now();
      await step();
      times.push((performance.now() - start) / 1000);
    }
    console.error(`${name}: ${i + 1} of ${flags.repetitions}`);
  }
  const points = all.map(({ x, flops, times }) => ({ x, y: median(times), least: Math.min(...times), flops }));
  return { name, points, fit: fitPowerLaw(points) };
}

async function stepOf(config: (typeof MODEL_CONFIGS)['10m'], size: Size): Promise<Step> {
  const { trainer } = await loraTrainer(await randomModel(config), RANK);
  const rows = randomTokens(size.batch, size.tokens, config.vocab_size);
  return trainerStep(trainer, { learningRate: 1e-4, rows });
}

function rowsOf({ name, points, fit }: MeasuredCurve): string[][] {
  const needed = fitPowerLaw(points.map(({ x, flops }) => ({ x, y: flops })));
  return points.map(({ x, y, least, flops }, i) => [
    ...[i === 0 ? name : '', String(x), y.toFixed(3), least.toFixed(3), (flops / y / 1e9).toFixed(0)],
    i === 0 ? `${fit.exponent.toFixed(2)} ± ${fit.standardError.toFixed(2)}` : '',
    i === 0 ? needed.exponent.toFixed(2) : '',
  ]);
}
