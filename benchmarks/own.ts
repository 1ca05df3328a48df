/**
 * Our side of the benchmarks, through the packages' public functions only. One JSON command a line in, one JSON answer
 * a line out; peer.py speaks the same. Started by run.ts: `own.ts SETTINGS.json THREADS`, or `own.ts prepare CONFIG.json FOLDER`.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { compile, Key, setEngine, type Tensor, tensor, tokenLogProbs, valueAndGrad } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Named } from '@posttrain/core-tensor/optim';
import { CausalLM, decode, type QuantizationOptions } from '@posttrain/lm';
import { saveAdapter } from '@posttrain/peft';
import type { GenerateCase, HeadCase, MatmulCase, TaskSettings } from './cases.js';
import { randomModel } from './random-model.js';
import { fullTrainer, loraTrainer, trainerStep, wholeStep } from './steps.js';

/** One measurement: does the work, and gives what reads the numbers to compare, which is not timed. */
type Measured = () => Promise<() => Promise<number[]>>;

if (process.argv[2] === 'prepare') await prepare(process.argv[3]!, process.argv[4]!);
else {
  setEngine(onnxruntimeEngine({ threads: Number(process.argv[3]) }));
  await serve(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as TaskSettings);
}

/** Writes a model with random weights. */
async function prepare(configFile: string, folder: string): Promise<void> {
  const model = await randomModel(JSON.parse(readFileSync(configFile, 'utf8')));
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
      return Promise.all(settings.cases.map(async (c) => steps(c.calls, trainerStep(await fullTrainer(model), c))));
    }
    case 'overhead': {
      const model = await CausalLM.load(settings.model);
      return settings.cases.map((c) => steps(c.calls, wholeStep(model, c)));
    }
    case 'sft': {
      const model = await CausalLM.load(settings.model, loadOptions(settings));
      return Promise.all(
        settings.cases.map(async (c) => {
          const { trainer, adapter } = await loraTrainer(model, c.rank);
          await saveAdapter(settings.adapter, adapter);
          return steps(c.calls, trainerStep(trainer, c));
        }),
      );
    }
    case 'generate': {
      const model = await CausalLM.load(settings.model, loadOptions(settings));
      return settings.cases.map((c) => generation(c, model));
    }
  }
}

/** The base in codes, where the settings say so. */
function loadOptions({ quantization }: { readonly quantization?: QuantizationOptions }) {
  return quantization ? { quantization } : {};
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

/** So many steps in one measurement; the numbers are their losses. */
function steps(calls: number, step: () => Promise<number>): Measured {
  return async () => {
    const losses: number[] = [];
    for (let i = 0; i < calls; i++) losses.push(await step());
    return async () => losses;
  };
}

function generation({ prompts, newTokens, vocabulary }: GenerateCase, model: CausalLM): Measured {
  const rowOf = (prompt: readonly number[]) => ({
    prompt,
    maxTokens: newTokens,
    key: Key.fromSeed(0),
    isEnd: () => false,
    ...{ temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 },
    logProbs: false,
  });
  let calls = 0;
  return async () => {
    const shift = calls++;
    const rows = prompts.map((prompt) => rowOf(prompt.map((token) => (token + shift) % vocabulary)));
    const tokens: number[][] = prompts.map(() => []);
    for await (const event of decode(model.network, model.weights, rows)) tokens[event.row]!.push(event.token);
    return async () => tokens.flat();
  };
}
