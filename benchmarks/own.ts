/**
 * Our side of the benchmarks, through the packages' public functions only. One JSON command a line in, one JSON answer
 * a line out; peer.py speaks the same. Started by run.ts: `own.ts SETTINGS.json THREADS`, or `own.ts prepare CONFIG.json FOLDER`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  adamW,
  compile,
  Key,
  onnxruntimeEngine,
  openSafetensors,
  setEngine,
  type Tensor,
  tensor,
} from '@posttrain/core-tensor';
import { CausalLM, decode, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora, negativeLogLikelihood, saveAdapter, Trainer } from '@posttrain/peft';
import type { GenerateCase, MatmulCase, SftCase, TaskSettings } from './cases.js';

/** One measurement: does the work, and gives what reads the numbers to compare, which is not timed. */
type Measured = () => Promise<() => Promise<number[]>>;

if (process.argv[2] === 'prepare') await prepare(process.argv[3]!, process.argv[4]!);
else {
  setEngine(onnxruntimeEngine({ threads: Number(process.argv[3]) }));
  await serve(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as TaskSettings);
}

/** Writes a model with random weights. The measurements work on token ids, so that any tokenizer will do. */
async function prepare(configFile: string, folder: string): Promise<void> {
  const config = parseModelConfig(JSON.parse(readFileSync(configFile, 'utf8')));
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({ version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } }),
  );
  const tokenizer = await Tokenizer.load(folder);
  const model = await CausalLM.initialize({ config, tokenizer, name: 'random' }, 0);
  await model.save(folder);
}

async function serve(settings: TaskSettings): Promise<void> {
  const cases = await measuredCases(settings);
  const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
  answer({ versions: { node: process.versions.node } });
  for await (const line of createInterface({ input: process.stdin })) {
    const { case: index } = JSON.parse(line) as { case: number };
    const before = process.cpuUsage();
    const start = performance.now();
    const numbers = await cases[index]!();
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(before);
    const peakBytes = process.resourceUsage().maxRSS * 1024;
    answer({ seconds, processorSeconds: (user + system) / 1e6, numbers: await numbers(), peakBytes });
  }
}

async function measuredCases(settings: TaskSettings): Promise<Measured[]> {
  switch (settings.task) {
    case 'matmul': {
      const source = await openSafetensors(settings.file);
      const read = async (name: string, size: number) =>
        tensor((await source.read(name, { as: 'float32' })).data, [size, size]);
      try {
        return await Promise.all(
          settings.cases.map(async (c) =>
            matmul(c, await read(`a${c.size}`, c.size), await read(`b${c.size}`, c.size)),
          ),
        );
      } finally {
        await source.close();
      }
    }
    case 'sft': {
      const model = await CausalLM.load(settings.model);
      return Promise.all(settings.cases.map((c) => sftStep(c, model, settings.adapter)));
    }
    case 'generate': {
      const model = await CausalLM.load(settings.model);
      return settings.cases.map((c) => generation(c, model));
    }
  }
}

function matmul({ calls }: MatmulCase, a: Tensor, b: Tensor): Measured {
  const product = compile((x: Tensor, y: Tensor) => x.matmul(y), { name: 'product' });
  return async () => {
    let result = a;
    for (let i = 0; i < calls; i++) result = await product(a, b);
    return async () => {
      const data = await result.data();
      return Array.from({ length: 32 }, (_, i) => data[Math.floor((i * data.length) / 32) + i]!);
    };
  };
}

async function sftStep({ rank, learningRate, rows }: SftCase, model: CausalLM, adapterFolder: string) {
  const adapter = await createAdapter(
    model,
    lora,
    { r: rank, loraAlpha: 2 * rank, targetModules: 'all-linear' },
    { seed: 0 },
  );
  await saveAdapter(adapterFolder, adapter);
  const trainer = await Trainer.create(model, { optimizer: adamW(), adapter });
  const predictions = rows.reduce((sum, tokens) => sum + tokens.length - 1, 0);
  const trained = rows.map((tokens) => ({
    tokens,
    weights: new Float32Array(tokens.length - 1).fill(1 / predictions),
  }));
  return async () => {
    const { loss } = await trainer.forwardBackward(trained, negativeLogLikelihood);
    await trainer.optimStep({ learningRate });
    return async () => [loss];
  };
}

function generation({ prompts, newTokens }: GenerateCase, model: CausalLM): Measured {
  const rows = prompts.map((prompt) => ({
    prompt,
    maxTokens: newTokens,
    key: Key.fromSeed(0),
    isEnd: () => false,
    ...{ temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 },
  }));
  return async () => {
    const tokens: number[][] = prompts.map(() => []);
    for await (const event of decode(model.network, model.weights, rows)) tokens[event.row]!.push(event.token);
    return async () => tokens.flat();
  };
}
