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
  iota,
  Key,
  type Named,
  onnxruntimeEngine,
  openSafetensors,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { CausalLM, decode, parseModelConfig, predictionLogProbs, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora, negativeLogLikelihood, saveAdapter, Trainer } from '@posttrain/peft';
import type { GenerateCase, HeadCase, MatmulCase, SftCase, StepCase, TaskSettings } from './cases.js';

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
  answer({ versions: { node: process.versions.node }, startBytes: process.memoryUsage.rss() });
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
      const matrices = await readMatrices(settings.file);
      return settings.cases.map((c) => matmul(c, matrices[`a${c.size}`]!, matrices[`b${c.size}`]!));
    }
    case 'head': {
      const { hidden, head } = await readMatrices(settings.file);
      return settings.cases.map((c) => headLoss(c, hidden!, head!));
    }
    case 'full': {
      const model = await CausalLM.load(settings.model);
      return Promise.all(settings.cases.map((c) => fullStep(c, model)));
    }
    case 'overhead': {
      const model = await CausalLM.load(settings.model);
      return settings.cases.map((c) => wholeStep(c, model));
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

async function readMatrices(file: string): Promise<Record<string, Tensor>> {
  const source = await openSafetensors(file);
  try {
    const read = async (name: string) => {
      const { data, shape } = await source.read(name, { as: 'float32' });
      return [name, tensor(data, shape)] as const;
    };
    return Object.fromEntries(await Promise.all([...source.tensors.keys()].map(read)));
  } finally {
    await source.close();
  }
}

/** 32 entries, spread evenly. */
function sample(data: ArrayLike<number>): number[] {
  return Array.from({ length: 32 }, (_, i) => data[Math.floor((i * data.length) / 32) + i]!);
}

function matmul({ calls }: MatmulCase, a: Tensor, b: Tensor): Measured {
  const product = compile((x: Tensor, y: Tensor) => x.matmul(y), { name: 'product' });
  return async () => {
    let result = a;
    for (let i = 0; i < calls; i++) result = await product(a, b);
    return async () => sample(await result.data());
  };
}

function headLoss({ targets, trainsHead }: HeadCase, hidden: Tensor, head: Tensor): Measured {
  const [trained, frozen]: Named[] = trainsHead ? [{ hidden, head }, {}] : [{ hidden }, { head }];
  const step = compile(
    valueAndGrad((variables: Named, rest: Named, y: Tensor) => {
      const all = { ...variables, ...rest };
      return tokenLogProbs(all.hidden!, all.head!, y).logProbs.sum().neg();
    }),
    { name: 'headLoss' },
  );
  const wanted = tensor(Int32Array.from(targets));
  return async () => {
    const { value, gradient } = await step(trained!, frozen!, wanted);
    return async () => [await value.item(), ...sample(await (gradient as Named).hidden!.data())];
  };
}

async function sftStep(step: SftCase, model: CausalLM, adapterFolder: string): Promise<Measured> {
  const adapter = await createAdapter(
    model,
    lora,
    { r: step.rank, loraAlpha: 2 * step.rank, targetModules: 'all-linear' },
    { seed: 0 },
  );
  await saveAdapter(adapterFolder, adapter);
  return trainerSteps(step, await Trainer.create(model, { optimizer: adamW(), adapter }));
}

async function fullStep(step: StepCase, model: CausalLM): Promise<Measured> {
  return trainerSteps(step, await Trainer.create(model, { optimizer: adamW() }));
}

function trainerSteps({ learningRate, rows, calls }: StepCase, trainer: Trainer): Measured {
  const predictions = rows.reduce((sum, tokens) => sum + tokens.length - 1, 0);
  const trained = rows.map((tokens) => ({
    tokens,
    weights: new Float32Array(tokens.length - 1).fill(1 / predictions),
  }));
  return async () => {
    const losses: number[] = [];
    for (let i = 0; i < calls; i++) {
      losses.push((await trainer.forwardBackward(trained, negativeLogLikelihood)).loss);
      await trainer.optimStep({ learningRate });
    }
    return async () => losses;
  };
}

/** Forward, loss, gradients and AdamW as one compiled function. */
function wholeStep({ learningRate, rows, calls }: StepCase, model: CausalLM): Measured {
  const optimizer = adamW();
  const shape = [rows.length, rows[0]!.length];
  const objective = (weights: Named, tokens: Tensor): Tensor => {
    const input = { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') };
    return predictionLogProbs(model.network, weights, input).logProbs.mean().neg();
  };
  const step = compile(
    (state: { weights: Named; inner: ReturnType<typeof optimizer.init> }, tokens: Tensor, rate: Tensor) => {
      const { value, gradient } = valueAndGrad(objective)(state.weights, tokens);
      const { parameters, state: inner } = optimizer.update(state.weights, gradient as Named, state.inner, rate);
      return { state: { weights: parameters, inner }, loss: value };
    },
    { name: 'step', donate: { 0: 'state' } },
  );
  let state = { weights: model.weights as Named, inner: optimizer.init(model.weights) };
  const tokens = tensor(Int32Array.from(rows.flat()), shape);
  return async () => {
    const losses: number[] = [];
    for (let i = 0; i < calls; i++) {
      const result = await step(state, tokens, scalar(learningRate));
      state = result.state;
      losses.push(await result.loss.item());
    }
    return async () => losses;
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
