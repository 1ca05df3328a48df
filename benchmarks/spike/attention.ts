/**
 * One layer of causal self-attention, forward and gradient, all scores at once against blocks: processor time (smallest of
 * the repetitions) and the most memory the process ever had, each in a process of its own.
 *
 *     npx tsx benchmarks/spike/attention.ts [--length 1024] [--batch 1]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compile, grad, Key, normal, realize, selfAttention, setEngine, type Tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';

const { values } = parseArgs({
  options: {
    length: { type: 'string', default: '1024' },
    batch: { type: 'string', default: '1' },
    layers: { type: 'string', default: '1' },
    side: { type: 'string' },
  },
});
const [length, batch, layers] = [Number(values.length), Number(values.batch), Number(values.layers)];
const [heads, keyValueHeads, width] = [9, 3, 64];

const sides: Record<string, object> = {
  inputs: {},
  'at once': { scoreBytes: Number.POSITIVE_INFINITY },
  'blocks, default': { scoreBytes: 0 },
  'one block': { scoreBytes: 0, blockSize: length },
  ...Object.fromEntries(
    [128, 256, 512].filter((n) => n < length).map((n) => [`blocks of ${n}`, { scoreBytes: 0, blockSize: n }]),
  ),
};

async function measure(side: string): Promise<void> {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const draw = (seed: number, n: number) => normal(Key.fromSeed(seed).toTensor(), [batch, n, length, width]);
  const inputs = [draw(0, heads), draw(1, keyValueHeads), draw(2, keyValueHeads)];
  await realize(inputs);
  const loss = ([q, k, v]: Tensor[]) => {
    let x = q!;
    for (let i = 0; i < layers; i++) x = selfAttention(x, k!, v!, { scale: width ** -0.5, ...sides[side] });
    return x.mul(x).sum();
  };
  const step = compile((x: Tensor[]) => (side === 'inputs' ? x : grad(loss)(x)));
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 6; i++) {
    const before = process.cpuUsage();
    await step(inputs);
    best = Math.min(best, process.cpuUsage(before).user / 1000);
  }
  const { maxRSS } = process.resourceUsage();
  console.log(`${side.padEnd(18)} ${best.toFixed(0).padStart(7)} ms  ${(maxRSS / 1024).toFixed(0).padStart(6)} MiB`);
}

if (values.side !== undefined) await measure(values.side);
else {
  console.log(`batch ${batch}, length ${length}, layers ${layers}`);
  for (const side of Object.keys(sides)) {
    const args = ['--import', 'tsx', fileURLToPath(import.meta.url), '--side', side];
    const shape = ['--length', `${length}`, '--batch', `${batch}`, '--layers', `${layers}`];
    spawnSync(process.execPath, [...args, ...shape], {
      stdio: 'inherit',
      cwd: fileURLToPath(new URL('..', import.meta.url)),
    });
  }
}
