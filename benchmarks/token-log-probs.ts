/**
 * Time and peak memory of `tokenLogProbs` at SmolLM2-135M's shape, each case in a process of its own:
 * Processor time, so that a busy machine matters less. `npx tsx benchmarks/token-log-probs.ts [ROWS WIDTH VOCABULARY THREADS]`. Cases: forward only; gradient to the hidden states
 * (frozen head, as LoRA trains); gradient to the head as well (full fine-tuning); the same with the entropies in the loss.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compile, grad, Key, realize, setEngine, type Tensor, tensor, tokenLogProbs } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';

const CASES = ['forward', 'hidden', 'hidden and head', 'with entropies'] as const;
type Case = (typeof CASES)[number];
const REPEATS = 4;

const [first, ...rest] = process.argv.slice(2);
if (CASES.includes(first as Case)) await measure(first as Case, rest.map(Number));
else {
  const sizes = process.argv.length > 2 ? process.argv.slice(2) : ['1024', '576', '49152', '1'];
  console.log(`rows ${sizes[0]}, width ${sizes[1]}, vocabulary ${sizes[2]}, threads ${sizes[3]}`);
  for (const one of CASES) {
    const args = ['--import', 'tsx', fileURLToPath(import.meta.url), one, ...sizes];
    process.stdout.write(execFileSync(process.execPath, args, { encoding: 'utf8' }));
  }
}

async function measure(one: Case, sizes: readonly number[]): Promise<void> {
  const [rows, width, vocabulary, threads] = sizes as [number, number, number, number];
  setEngine(onnxruntimeEngine({ threads }));
  const numbers = (count: number, seed: number, scale: number) => {
    const few = Key.fromSeed(seed).uniformHost(Math.min(count, 100_003));
    return Float32Array.from({ length: count }, (_, i) => scale * (2 * few[i % few.length]! - 1));
  };
  const make = (n: number) => ({
    hidden: tensor(numbers(n * width, 0, 2), [n, width]),
    targets: tensor(
      Int32Array.from({ length: n }, (_, i) => (i * 7919) % vocabulary),
      [n],
    ),
  });
  const head = tensor(numbers(vocabulary * width, 1, 0.1), [vocabulary, width]);

  const loss = (hidden: Tensor, weight: Tensor, targets: Tensor) => {
    const { logProbs, entropies } = tokenLogProbs(hidden, weight, targets);
    return one === 'with entropies' ? logProbs.add(entropies.mul(0.01)).mean() : logProbs.mean();
  };
  const run = compile((hidden: Tensor, weight: Tensor, targets: Tensor) => {
    if (one === 'forward') return loss(hidden, weight, targets);
    const gradients =
      one === 'hidden'
        ? [grad((h: Tensor) => loss(h, weight, targets))(hidden)]
        : grad((p: Tensor[]) => loss(p[0]!, p[1]!, targets))([hidden, weight]);
    // What is done with the gradients costs little, and nothing large is given out.
    return gradients.map((g) => g.square().sum());
  });
  const small = make(2);
  await run(small.hidden, head, small.targets);
  const { hidden, targets } = make(rows);
  await realize([hidden, targets]);
  const before = process.resourceUsage().maxRSS;
  const seconds: number[] = [];
  for (let i = 0; i < REPEATS; i++) {
    const start = process.cpuUsage();
    await run(hidden, head, targets);
    const { user, system } = process.cpuUsage(start);
    seconds.push((user + system) / 1e6);
  }
  const growth = (process.resourceUsage().maxRSS - before) / 1024;
  const times = seconds
    .slice(1)
    .map((s) => s.toFixed(2))
    .join(' ');
  console.log(`${one.padEnd(16)} ${times} s of processor time, peak + ${growth.toFixed(0)} MiB`);
}
