/**
 * Times one SmolLM2-135M-shaped LoRA training step and one decode step as ONNX graphs beside PyTorch, alternating.
 * usage: npx tsx benchmarks/spike/run.ts --train --decode [--targets qv|all] [--repetitions 6] [--threads 2] [--no-peer] [--profile] [--variants inputs,tensors]
 * PYTHON names the interpreter with torch, transformers, peft and safetensors (default python3).
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { compile, setEngine, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { encodeModel } from '../../packages/core-tensor/src/engines/onnxruntime/proto.js';
import { decodeGraph } from './decode-graph.js';
import { median, printProfile } from './profile.js';
import { adapterShapes, type LoraTargets, shape, weightShapes } from './shape.js';
import { tensorStep } from './tensor-step.js';
import { trainingFlops, trainingGraph } from './training-graph.js';

const { values: options } = parseArgs({
  options: {
    targets: { type: 'string', default: 'qv' },
    repetitions: { type: 'string', default: '6' },
    'no-peer': { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    variants: { type: 'string', default: 'inputs' },
    decode: { type: 'boolean', default: false },
    train: { type: 'boolean', default: false },
    level: { type: 'string', default: 'extended' },
    threads: { type: 'string', default: '2' },
  },
});
const targets = options.targets as LoraTargets;
const repetitions = Number(options.repetitions);
const threads = Number(options.threads);
setEngine(onnxruntimeEngine({ threads }));
const past = 256;
const capacity = 512;
const rows = shape.batch * shape.sequence;
const folder = join(tmpdir(), `posttrain-spike-${process.pid}`);
mkdirSync(folder, { recursive: true });

// xorshift32: the same data on both sides comes from one file, so any generator will do.
let state = 12345;
function uniform(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}
function random(size: number, scale: number, shift = 0): Float32Array {
  const out = new Float32Array(size);
  for (let i = 0; i < size; i++) out[i] = shift + scale * (uniform() + uniform() + uniform() + uniform() - 2) * 1.7;
  return out;
}
const product = (dims: readonly number[]) => dims.reduce((a, c) => a * c, 1);

const data = new Map<string, { dims: number[]; values: Float32Array }>();
for (const [name, dims] of [...weightShapes(), ...adapterShapes(targets)])
  data.set(name, { dims, values: dims.length === 1 ? random(dims[0]!, 0.1, 1) : random(product(dims), 0.03) });
const cacheRow = [1, shape.keyValueHeads, past, shape.headSize];
for (let layer = 0; layer < shape.layers; layer++)
  for (const kind of ['key', 'value'])
    data.set(`past_${kind}.${layer}`, { dims: cacheRow, values: random(product(cacheRow), 1) });
const tokens = Array.from({ length: rows }, () => Math.floor(uniform() * shape.vocabulary));
data.set('tokens', { dims: [shape.batch, shape.sequence], values: Float32Array.from(tokens) });

function writeSafetensors(path: string): void {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, { dims, values }] of data) {
    header[name] = { dtype: 'F32', shape: dims, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  const parts = [...data.values()].map(({ values }) => new Uint8Array(values.buffer));
  writeFileSync(path, size);
  for (const part of [json, ...parts]) writeFileSync(path, part, { flag: 'a' });
}

async function startPeer() {
  writeSafetensors(join(folder, 'spike.safetensors'));
  writeFileSync(join(folder, 'spike.json'), JSON.stringify({ shape, targets, past, capacity, threads }));
  const child = spawn(process.env.PYTHON ?? 'python3', [join(import.meta.dirname, 'peer.py'), folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Keeps freed memory in the process: without it PyTorch pays for first-touched pages in every step.
    env: { ...process.env, MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: '100000000000', MALLOC_ARENA_MAX: '1' },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('peer.py ended early; its own message is above');
    return JSON.parse(value);
  };
  await answer();
  return {
    ask(command: object) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      return answer();
    },
    stop: () => child.stdin.end(),
  };
}

const sessionOptions = (profile: string | undefined): InferenceSession.SessionOptions => ({
  executionProviders: ['cpu'],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: options.level as 'all',
  enableMemPattern: false,
  logSeverityLevel: 3,
  ...(profile ? { enableProfiling: true, profileFilePrefix: join(folder, profile) } : {}),
});

const float = (values: Float32Array, dims: readonly number[]) => new Tensor('float32', values, dims);
const ints = (values: readonly number[]) => new Tensor('int64', BigInt64Array.from(values, BigInt), [values.length]);

/** Runs a session repeatedly into the same output arrays. */
class Runner {
  readonly times: number[] = [];
  readonly user: number[] = [];
  readonly system: number[] = [];
  constructor(
    readonly name: string,
    readonly step: () => Promise<unknown>,
    /** What the last step wrote, by output name. */
    readonly result: (output: string) => Promise<Float32Array>,
    /** Absent: the step is not profiled. */
    readonly session?: InferenceSession,
  ) {}

  static ofSession(
    name: string,
    session: InferenceSession,
    feeds: Record<string, Tensor>,
    fetches: Record<string, Tensor>,
  ): Runner {
    const result = async (output: string) => fetches[output]!.data as Float32Array;
    return new Runner(name, () => session.run(feeds, fetches), result, session);
  }

  async run(keep = true): Promise<void> {
    const before = process.cpuUsage();
    const start = performance.now();
    await this.step();
    const seconds = (performance.now() - start) / 1000;
    const used = process.cpuUsage(before);
    if (!keep) return;
    this.times.push(seconds);
    this.user.push(used.user / 1e6);
    this.system.push(used.system / 1e6);
  }
}

const variants: Record<string, { headRows: number; fuseAdds: boolean; constants: boolean }> = {
  inputs: { headRows: 256, fuseAdds: true, constants: false },
  noFuse: { headRows: 256, fuseAdds: false, constants: false },
  head128: { headRows: 128, fuseAdds: true, constants: false },
  head512: { headRows: 512, fuseAdds: true, constants: false },
  head1024: { headRows: 1024, fuseAdds: true, constants: false },
  constants: { headRows: 256, fuseAdds: true, constants: true },
};

const weightsMap = () => new Map([...weightShapes().keys()].map((name) => [name, data.get(name)!.values] as const));

/** The same step written with tensors, differentiated and compiled by the library. */
function tensorRunner(): Runner {
  const tensors = (shapes: ReadonlyMap<string, number[]>) =>
    Object.fromEntries([...shapes].map(([name, dims]) => [name, tensor(data.get(name)!.values, dims)]));
  const batch = trainingBatch();
  const inputs = {
    tokens: tensor(Int32Array.from(tokens), [shape.batch, shape.sequence]),
    labels: tensor(Int32Array.from(batch.targets)),
    lossWeights: tensor(batch.weights),
  };
  const [adapters, weights] = [tensors(adapterShapes(targets)), tensors(weightShapes())];
  const step = compile(tensorStep(targets));
  let last: Awaited<ReturnType<typeof step>>;
  const run = async () => {
    last = await step(adapters, weights, inputs);
  };
  const result = async (output: string) => {
    const x = output === 'loss' ? last.value : last.gradient[output.replace(/\.grad$/, '')]!;
    return (await x.data()) as Float32Array;
  };
  return new Runner('tensors', run, result);
}

/** Next-token targets, and the weight of each position in the mean; the last of a row has no target. */
function trainingBatch(): { targets: number[]; weights: Float32Array } {
  const isLast = (i: number) => (i + 1) % shape.sequence === 0;
  const count = shape.batch * (shape.sequence - 1);
  return {
    targets: tokens.map((_, i) => (isLast(i) ? 0 : tokens[i + 1]!)),
    weights: Float32Array.from(tokens, (_, i) => (isLast(i) ? 0 : 1 / count)),
  };
}

async function trainingRunner(name: string): Promise<Runner> {
  if (name === 'tensors') return tensorRunner();
  const variant = variants[name]!;
  const graph = trainingGraph({
    targets,
    headRows: variant.headRows,
    fuseAdds: variant.fuseAdds,
    ...(variant.constants ? { constants: weightsMap() } : {}),
  });
  const model = encodeModel(graph);
  const start = performance.now();
  const session = await InferenceSession.create(model, sessionOptions(options.profile ? name : undefined));
  console.log(
    `train/${name}: ${graph.nodes.length} nodes, session ${((performance.now() - start) / 1000).toFixed(2)} s`,
  );
  const feeds: Record<string, Tensor> = { tokens: ints(tokens) };
  const batch = trainingBatch();
  feeds.targets = ints(batch.targets);
  feeds.weights = float(batch.weights, [rows, 1]);
  for (const { name: input } of graph.inputs) {
    const entry = data.get(input);
    if (entry && input !== 'tokens') feeds[input] = float(entry.values, entry.dims);
  }
  const fetches: Record<string, Tensor> = { loss: float(new Float32Array(1), []) };
  for (const [adapter, dims] of adapterShapes(targets))
    fetches[`${adapter}.grad`] = float(new Float32Array(product(dims)), dims);
  return Runner.ofSession(name, session, feeds, fetches);
}

async function decodeRunner(batch: number, variant: string): Promise<Runner> {
  const graph = decodeGraph(batch, capacity, {
    ...(variant === 'constants' ? { constants: weightsMap() } : {}),
    weightFirst: variant === 'weightFirst',
  });
  const session = await InferenceSession.create(
    encodeModel(graph),
    sessionOptions(options.profile ? `decode${batch}-${variant}` : undefined),
  );
  const feeds: Record<string, Tensor> = {
    tokens: ints(tokens.slice(0, batch)),
    lengths: new Tensor('int32', new Int32Array(batch).fill(past), [batch]),
    total: new Tensor('int32', Int32Array.of(past + 1), []),
  };
  const fetches: Record<string, Tensor> = {
    logits: float(new Float32Array(batch * shape.vocabulary), [batch, shape.vocabulary]),
  };
  for (const { name } of graph.inputs) {
    const entry = data.get(name);
    if (!entry || name === 'tokens') continue;
    if (!name.startsWith('past_')) {
      feeds[name] = float(entry.values, entry.dims);
      continue;
    }
    const dims = [batch, shape.keyValueHeads, capacity, shape.headSize];
    const cache = new Float32Array(product(dims));
    for (let row = 0; row < batch; row++)
      for (let head = 0; head < shape.keyValueHeads; head++)
        cache.set(
          entry.values.subarray(head * past * shape.headSize, (head + 1) * past * shape.headSize),
          (row * shape.keyValueHeads + head) * capacity * shape.headSize,
        );
    const tensor = float(cache, dims);
    feeds[name] = tensor;
    fetches[name.replace('past_', 'present_')] = tensor;
  }
  return Runner.ofSession(`decode${batch} ${variant}`, session, feeds, fetches);
}

const report = (name: string, times: readonly number[], flops?: number) =>
  console.log(
    `${name.padEnd(28)} min ${Math.min(...times).toFixed(4)} median ${median(times).toFixed(4)} s` +
      (flops ? `  (${(flops / Math.min(...times) / 1e9).toFixed(0)} GFLOP/s at min)` : '') +
      `  n=${times.length}`,
  );
const rest = () => new Promise((resolve) => setTimeout(resolve, 200));

const peer = options['no-peer'] ? undefined : await startPeer();

if (options.train) {
  const runners = await Promise.all(options.variants.split(',').map(trainingRunner));
  const peerTimes: Record<string, number[]> = { eager: [], sdpa: [] };
  const peerUser: Record<string, number[]> = { eager: [], sdpa: [] };
  const peerSystem: Record<string, number[]> = { eager: [], sdpa: [] };
  let peerLoss = Number.NaN;
  for (let i = -1; i < repetitions; i++) {
    for (const runner of runners) {
      await runner.run(i >= 0);
      await rest();
    }
    if (peer) {
      for (const attention of Object.keys(peerTimes)) {
        const { seconds, loss, user, system } = await peer.ask({ do: 'train', attention });
        if (i >= 0) {
          peerTimes[attention]!.push(seconds);
          peerUser[attention]!.push(user);
          peerSystem[attention]!.push(system);
        }
        peerLoss = loss;
        await rest();
      }
    }
  }
  console.log(
    `training step, ${rows} tokens, LoRA r=${shape.loraRank} on ${targets}: ${trainingFlops(targets) / 1e9} GFLOP`,
  );
  for (const runner of runners) {
    report(`onnxruntime ${runner.name}`, runner.times, trainingFlops(targets));
    report('  processor time, user', runner.user);
    report('  processor time, system', runner.system);
    console.log('  loss', (await runner.result('loss'))[0], 'peer loss', peerLoss);
  }
  if (peer) {
    for (const [attention, times] of Object.entries(peerTimes)) {
      report(`torch ${attention}`, times, trainingFlops(targets));
      report('  processor time, user', peerUser[attention]!);
      report('  processor time, system', peerSystem[attention]!);
    }
    const { gradients, head } = await peer.ask({ do: 'gradients' });
    for (const runner of runners) {
      let worst = 0;
      for (const name of Object.keys(gradients)) {
        const own = await runner.result(`${name}.grad`);
        const norm = Math.sqrt(own.reduce((s, g) => s + g * g, 0));
        worst = Math.max(worst, Math.abs(norm / gradients[name] - 1));
        const scale = gradients[name] / Math.sqrt(own.length);
        for (const [i, g] of (head[name] as number[]).entries()) worst = Math.max(worst, Math.abs(own[i]! - g) / scale);
      }
      console.log(
        `${runner.name}: largest gradient difference, in root mean squares of its tensor: ${worst.toExponential(2)}`,
      );
    }
    for (const runner of runners)
      for (const attention of Object.keys(peerTimes))
        console.log(
          `torch ${attention} / onnxruntime ${runner.name}: min ${(Math.min(...peerTimes[attention]!) / Math.min(...runner.times)).toFixed(2)}x` +
            ` median ${(median(peerTimes[attention]!) / median(runner.times)).toFixed(2)}x`,
        );
  }
  for (const runner of runners) if (options.profile && runner.session) printProfile(profilePath(runner));
}

if (options.decode) {
  for (const batch of [1, 16]) {
    const runners: Runner[] = [];
    for (const variant of options.variants.split(',')) runners.push(await decodeRunner(batch, variant));
    const peerTimes: Record<string, number[]> = {};
    const peerUser: Record<string, number[]> = {};
    let logits: number[] = [];
    for (let i = 0; i < repetitions; i++) {
      for (const runner of runners) {
        await runner.run(false);
        for (let step = 0; step < 8; step++) await runner.run();
        await rest();
      }
      if (!peer) continue;
      for (const [attention, cache] of [
        ['sdpa', 'dynamic'],
        ['eager', 'dynamic'],
        ['sdpa', 'static'],
      ] as const) {
        const answer = await peer.ask({ do: 'decode', attention, cache, batch, steps: 9 });
        peerTimes[`${attention} ${cache}`] ??= [];
        peerTimes[`${attention} ${cache}`]!.push(...answer.times.slice(1));
        peerUser[`${attention} ${cache}`] ??= [];
        peerUser[`${attention} ${cache}`]!.push(...answer.user.slice(1));
        logits = answer.logits;
        await rest();
      }
    }
    console.log(`decode step, batch ${batch}, ${past} keys in the cache`);
    for (const runner of runners) {
      report(`onnxruntime ${runner.name}`, runner.times);
      report('  processor time, user', runner.user);
      const own = await runner.result('logits');
      console.log(
        '  largest logit difference',
        Math.max(...logits.map((l, i) => Math.abs(l - own[i]!))),
        'of',
        logits[0],
      );
    }
    for (const [name, times] of Object.entries(peerTimes)) {
      report(`torch ${name}`, times);
      report('  processor time, user', peerUser[name]!);
      console.log(
        `  torch / onnxruntime: min ${(Math.min(...times) / Math.min(...runners[0]!.times)).toFixed(2)}x median ${(median(times) / median(runners[0]!.times)).toFixed(2)}x`,
      );
    }
    for (const runner of runners) if (options.profile && runner.session) printProfile(profilePath(runner));
  }
}

function profilePath(runner: Runner): string {
  // The node binding's endProfiling returns nothing; the file is found by its prefix.
  runner.session?.endProfiling();
  const prefix = `${runner.name.replace(' ', '-')}_`;
  return join(folder, readdirSync(folder).find((file) => file.startsWith(prefix) && file.endsWith('.json'))!);
}

peer?.stop();
rmSync(folder, { recursive: true, force: true });
