/**
 * Peak memory and time of steps of full fine-tuning by AdamW, with the optimizer's states in memory, in the host's arrays and in a file,
 * each in a process of its own: `npx tsx benchmarks/offload-optimizer.ts [10m|135m] [ROWS] [LENGTH] [THREADS] [FOLDER]`. Random weights. The
 * folder (default: the current one) must be on a disk: a file in tmpfs is memory.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { negativeLogLikelihood, Trainer } from '@posttrain/training';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { randomModel } from './random-model.js';

const [first = '135m', ...rest] = process.argv.slice(2);
if (first === 'child') await measure(rest);
else {
  const sizes = [first, rest[0] ?? '1', rest[1] ?? '64', rest[2] ?? '2'];
  console.log(`model ${sizes[0]}, all weights, AdamW, ${sizes[1]} rows of ${sizes[2]} tokens, ${sizes[3]} threads`);
  for (const where of ['memory', 'cpu', 'nvme']) {
    const folder = mkdtempSync(join(resolve(rest[3] ?? '.'), 'states-'));
    const args = ['--expose-gc', '--import', 'tsx', fileURLToPath(import.meta.url), 'child', where, ...sizes, folder];
    process.stdout.write(execFileSync(process.execPath, args, { encoding: 'utf8' }));
    rmSync(folder, { recursive: true });
  }
}

async function measure([where, name, rows, length, threads, nvmePath]: readonly string[]): Promise<void> {
  setEngine(onnxruntimeEngine({ threads: Number(threads) }));
  let model = await randomModel(MODEL_CONFIGS[name as ModelName]);
  const { vocabSize } = model.config;
  const subGroupSize = 2 ** 22;
  const trainer = await Trainer.create(model, {
    optimizer: 'adamw_torch',
    ...(where === 'nvme' && { offloadOptimizer: { device: 'nvme', nvmePath: nvmePath!, subGroupSize } }),
    ...(where === 'cpu' && { offloadOptimizer: { device: 'cpu', subGroupSize } }),
  });
  // What is trained is a copy: the weights of the start need not stay.
  model = undefined as never;
  const count = Number(rows) * (Number(length) - 1);
  const batch = Array.from({ length: Number(rows) }, (_, row) => ({
    tokens: Array.from({ length: Number(length) }, (__, i) => (row * 977 + i * 31) % vocabSize),
    weights: new Array(Number(length) - 1).fill(1 / count),
  }));
  const seconds: number[] = [];
  for (let i = 0; i < 4; i++) {
    await trainer.forwardBackward(batch, negativeLogLikelihood);
    const start = performance.now();
    await trainer.optimStep({ learningRate: 1e-4 });
    seconds.push((performance.now() - start) / 1000);
    (globalThis as { gc?: () => void }).gc?.();
  }
  const size = Object.values(trainer.parameters).reduce((sum, p) => sum + p.size, 0);
  const hash = createHash('sha256');
  for (const p of Object.values(trainer.parameters)) hash.update((await p.data()) as Float32Array);
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const times = seconds.slice(1).map((s) => s.toFixed(1));
  console.log(
    `${where}: peak ${mebibytes(process.resourceUsage().maxRSS * 1024)}, now ${mebibytes(process.memoryUsage().rss)} ` +
      `(parameters ${mebibytes(size * 4)}, states ${mebibytes(size * 8)}), updates ${times.join(' ')} s, weights ${hash.digest('hex').slice(0, 12)}`,
  );
}
