/**
 * Time and peak memory of one `forwardBackward` with and without gradient checkpointing, each in a process of its own:
 * `npx tsx benchmarks/gradient-checkpointing.ts [10m|135m] [ROWS] [LENGTH] [THREADS]`. Random weights, a LoRA adapter or all weights.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW } from '@posttrain/core-tensor/optim';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { negativeLogLikelihood, Trainer } from '@posttrain/training';
import { MODEL_CONFIGS, type ModelName } from './cases.js';

const [first = '135m', ...rest] = process.argv.slice(2);
if (first === 'child') await measure(rest);
else {
  const sizes = [first, rest[0] ?? '4', rest[1] ?? '256', rest[2] ?? '2'];
  console.log(`model ${sizes[0]}, ${sizes[1]} rows of ${sizes[2]} tokens, ${sizes[3]} threads`);
  for (const trained of ['adapter', 'all weights']) {
    for (const kept of ['plain', 'checkpointing']) {
      const args = ['--import', 'tsx', fileURLToPath(import.meta.url), 'child', trained, kept, ...sizes];
      process.stdout.write(execFileSync(process.execPath, args, { encoding: 'utf8' }));
    }
  }
}

async function measure([trained, kept, name, rows, length, threads]: readonly string[]): Promise<void> {
  setEngine(onnxruntimeEngine({ threads: Number(threads) }));
  const config = parseModelConfig({ ...MODEL_CONFIGS[name as ModelName] });
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-'));
  const vocabulary = { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] };
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({ version: '1.0', added_tokens: [], model: vocabulary }),
  );
  const tokenizer = await Tokenizer.load(folder);
  rmSync(folder, { recursive: true });
  const model = await CausalLM.initialize({ config, tokenizer, name: 'random' }, 0);
  const adapter = trained === 'adapter' ? await createAdapter(model, lora, { r: 8 }) : undefined;
  const trainer = await Trainer.create(model, {
    optimizer: adamW(),
    gradientCheckpointing: kept === 'checkpointing',
    ...(adapter && { adapter }),
  });
  const count = Number(rows) * (Number(length) - 1);
  const batch = Array.from({ length: Number(rows) }, (_, row) => ({
    tokens: Array.from({ length: Number(length) }, (_, i) => (row * 977 + i * 31) % config.vocabSize),
    weights: new Array(Number(length) - 1).fill(1 / count),
  }));
  const before = process.resourceUsage().maxRSS;
  const seconds: number[] = [];
  let loss = 0;
  for (let i = 0; i < 3; i++) {
    const start = process.cpuUsage();
    loss = (await trainer.forwardBackward(batch, negativeLogLikelihood)).loss;
    const { user, system } = process.cpuUsage(start);
    seconds.push((user + system) / 1e6);
  }
  const growth = (process.resourceUsage().maxRSS - before) / 1024;
  const times = seconds.slice(1).map((s) => s.toFixed(1));
  console.log(
    `${trained}, ${kept}: ${times.join(' ')} s of processor time, peak + ${growth.toFixed(0)} MiB, loss ${loss}`,
  );
}
