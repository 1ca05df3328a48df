/** Our side of trainers.ts: `sft`, `dpo`, `trainRewardModel` and `distill`, whole runs of them. Started by it: `trainers-own.ts SETTINGS.json THREADS`. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM, SequenceClassifier } from '@posttrain/lm';
import { dpo } from '@posttrain/rl';
import { distill, sft, Trainer, trainRewardModel } from '@posttrain/training';
import type { TrainerSettings } from './trainers.js';

const settings = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as TrainerSettings;
setEngine(onnxruntimeEngine({ threads: Number(process.argv[3]) }));

/** Seconds in a verb of `Trainer`, whoever calls it. */
const spent = { forwardBackward: 0, optimizer: 0 };
timeVerb('forwardBackward', 'forwardBackward');
timeVerb('optimStep', 'optimizer');

function timeVerb(verb: 'forwardBackward' | 'optimStep', share: keyof typeof spent): void {
  const inner = Trainer.prototype[verb] as (...args: never[]) => Promise<unknown>;
  Object.assign(Trainer.prototype, {
    async [verb](this: Trainer, ...args: never[]) {
      const began = performance.now();
      const result = await inner.apply(this, args);
      spent[share] += (performance.now() - began) / 1000;
      return result;
    },
  });
}

async function measure(): Promise<object> {
  const { method, rows, steps, warmup, learningRate } = settings;
  const losses: number[] = [];
  const marks: { readonly at: number; readonly processor: number; readonly spent: typeof spent }[] = [];
  const shared = {
    ...{ rows: rows as never, steps, batchSize: rows.length, learningRate, schedule: 'constant' as const },
    onWarning: () => {},
    onLog: ({ metrics }: { metrics: { readonly loss?: number } }) => void losses.push(metrics.loss!),
    afterStep() {
      const { user, system } = process.cpuUsage();
      marks.push({ at: performance.now(), processor: (user + system) / 1e6, spent: { ...spent } });
    },
  } as const;
  if (method === 'reward') {
    const { steps: epochs, ...others } = shared;
    await trainRewardModel({ ...others, model: await SequenceClassifier.load(settings.reward), epochs });
  } else {
    const model = await CausalLM.load(settings.model);
    if (method === 'sft') await sft({ ...shared, model });
    if (method === 'dpo') await dpo({ ...shared, model });
    if (method === 'gkd') {
      await distill({ ...shared, model, teacher: await CausalLM.load(settings.teacher), lmbda: 0, beta: 0.5 });
    }
  }
  const [first, last] = [marks[warmup - 1]!, marks.at(-1)!];
  const seconds = (last.at - first.at) / 1000;
  const share = (name: keyof typeof spent) => (last.spent[name] - first.spent[name]) / seconds;
  const [forwardBackward, optimizer] = [share('forwardBackward'), share('optimizer')];
  return {
    ...{ seconds, processorSeconds: last.processor - first.processor, numbers: losses },
    shares: { forwardBackward, optimizer, other: 1 - forwardBackward - optimizer },
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ versions: { node: process.versions.node }, startBytes: process.memoryUsage.rss() });
for await (const _ of createInterface({ input: process.stdin })) answer(await measure());
