/**
 * An update of every method beside PEFT's, on the same files, rows and number of threads (one):
 * `npx tsx benchmarks/peft-methods.ts [--model 10m] [--steps 8] [--rows 4] [--length 128] [--python python3] [KIND …]`.
 *
 * Both sides have a process a method; medians of processor time without the first two updates, PEFT's over ours (above 1: PEFT takes
 * longer), and how far the peak of memory rose above the loaded model. Full fine-tuning and the base are in run.ts. The Python
 * packages are those of goldens/requirements.txt.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW } from '@posttrain/core-tensor/optim';
import { isPosttrainError } from '@posttrain/interfaces';
import { CausalLM } from '@posttrain/lm';
import { loadAdapter, saveAdapter } from '@posttrain/peft';
import { negativeLogLikelihood, Trainer } from '@posttrain/training';
import { ADAPTER_KINDS, adapterOfKind, inputsOfKind } from './adapter-kinds.js';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { median } from './compare.js';
import { randomModel } from './random-model.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: '10m' },
    steps: { type: 'string', default: '8' },
    rows: { type: 'string', default: '4' },
    length: { type: 'string', default: '128' },
    python: { type: 'string', default: 'python3' },
    child: { type: 'string' },
  },
});
const [steps, rows, length] = [Number(flags.steps), Number(flags.rows), Number(flags.length)];
const vocabulary = Number(MODEL_CONFIGS[flags.model as ModelName].vocab_size);
setEngine(onnxruntimeEngine({ threads: 1 }));

/** What a side says. */
interface Measured {
  readonly seconds: number;
  readonly loss: number;
  readonly bytes: number;
}

if (flags.child !== undefined) console.log(JSON.stringify(await own(flags.child, positionals[0]!)));
else await compareAll(positionals.length > 0 ? positionals : ADAPTER_KINDS);

async function compareAll(kinds: readonly string[]): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'posttrain-peft-'));
  process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  const folder = join(root, 'model');
  const model = await randomModel(MODEL_CONFIGS[flags.model as ModelName]);
  await model.save(folder);
  console.log(`${flags.model}, ${rows} rows of ${length} tokens, ${steps} updates, one thread, processor time\n`);
  console.log(
    '| method | trained | ours, ms | PEFT, ms | PEFT over ours | ours, memory | PEFT, memory | first loss, apart |',
  );
  console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |');
  for (const kind of kinds) console.log(`| \`${kind}\` | ${(await lineOf(kind)).join(' | ')} |`);

  async function lineOf(kind: string): Promise<readonly string[]> {
    const at = join(root, kind);
    let trained: number;
    try {
      const adapter = await adapterOfKind(model, kind);
      trained = adapter.report.trainableParameters;
      await saveAdapter(at, adapter);
    } catch (error) {
      if (!isPosttrainError(error)) throw error;
      return [`not here: ${error.message.slice(0, 80)}`];
    }
    const settings = ['--model', flags.model, '--steps', flags.steps, '--rows', flags.rows, '--length', flags.length];
    const here = [fileURLToPath(import.meta.url), ...settings, '--child', at, folder];
    const mine = answerOf(spawnSync(process.execPath, ['--import', 'tsx', ...here], { encoding: 'utf8' }));
    const script = join(import.meta.dirname, 'peft-methods.py');
    const sizes = [steps, rows, length, vocabulary].map(String);
    const peers = answerOf(spawnSync(flags.python, [script, folder, at, ...sizes], { encoding: 'utf8' }));
    const ms = (side: Measured | string) => (typeof side === 'string' ? side : (1000 * side.seconds).toFixed(1));
    const memory = (side: Measured | string) =>
      typeof side === 'string' ? '' : `${(side.bytes / 2 ** 20).toFixed(0)} MiB`;
    const both = typeof mine === 'string' || typeof peers === 'string' ? undefined : ([mine, peers] as const);
    const ratio = both ? (both[1].seconds / both[0].seconds).toFixed(2) : '';
    const apart = both ? Math.abs(both[0].loss - both[1].loss).toExponential(1) : '';
    return [String(trained), ms(mine), ms(peers), ratio, memory(mine), memory(peers), apart];
  }
}

/** The last line as JSON, or what went wrong. */
function answerOf({
  status,
  stdout,
  stderr,
}: {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}) {
  if (status === 0) return JSON.parse(stdout.trim().split('\n').at(-1)!) as Measured;
  return `failed: ${stderr.trim().split('\n').at(-1)!.slice(0, 100).replaceAll('|', '/')}`;
}

async function own(folder: string, modelFolder: string): Promise<Measured> {
  const model = await CausalLM.load(modelFolder);
  const before = process.resourceUsage().maxRSS;
  const adapter = await loadAdapter(model, folder);
  const trainer = await Trainer.create(model, { optimizer: adamW(), adapter });
  const inputs = inputsOfKind(adapter, Math.floor(length / 2));
  const count = rows * (length - 1);
  const batch = Array.from({ length: rows }, (_, row) => ({
    tokens: Array.from({ length }, (_, t) => (31 * t + 7 * row) % vocabulary),
    weights: new Array(length - 1).fill(1 / count),
    ...(inputs && { adapterInputs: inputs }),
  }));
  const [seconds, losses]: number[][] = [[], []];
  for (let i = 0; i < steps; i++) {
    const start = process.cpuUsage();
    losses!.push((await trainer.forwardBackward(batch, negativeLogLikelihood)).loss);
    await trainer.optimStep({ learningRate: 1e-4, maxGradNorm: 1 });
    const { user, system } = process.cpuUsage(start);
    seconds!.push((user + system) / 1e6);
  }
  const bytes = (process.resourceUsage().maxRSS - before) * 1024;
  return { seconds: median(seconds!.slice(2)), loss: losses![0]!, bytes };
}
