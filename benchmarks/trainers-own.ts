/** Our side of trainers.ts: `sft`, `dpo`, `trainRewardModel`, `distill` and `trainPolicy`, whole runs of them. Started by it: `trainers-own.ts SETTINGS.json THREADS`. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM, SequenceClassifier } from '@posttrain/lm';
import { dpo, policyObjectives, type RewardContext, singleTurn, trainPolicy } from '@posttrain/rl';
import { distill, sft, Trainer, trainRewardModel } from '@posttrain/training';
import type { TrainerSettings } from './trainers.js';

const settings = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as TrainerSettings;
setEngine(onnxruntimeEngine({ threads: Number(process.argv[3]) }));

/** Seconds so far, by what they went to: verbs of `Trainer`, whoever calls them, and what a step of GRPO has beside them. */
const spent: Record<string, number> = {
  ...(settings.method === 'grpo' && { rollout: 0, reward: 0, reference: 0 }),
  ...{ forwardBackward: 0, optimizer: 0 },
};
/** When the last part of a step ended. */
let ended = 0;
timeVerb('forwardBackward', 'forwardBackward');
timeVerb('optimStep', 'optimizer');

async function timed<Result>(share: string, work: () => Promise<Result>): Promise<Result> {
  const began = performance.now();
  const result = await work();
  ended = performance.now();
  spent[share] = spent[share]! + (ended - began) / 1000;
  return result;
}

function timeVerb(verb: 'forwardBackward' | 'optimStep', share: string): void {
  const inner = Trainer.prototype[verb] as (...args: never[]) => Promise<unknown>;
  Object.assign(Trainer.prototype, {
    [verb](this: Trainer, ...args: never[]) {
      // Between the rewards and the update, GRPO asks the reference, and makes rows of advantages.
      if (share === 'forwardBackward' && 'reference' in spent) spent.reference! += (performance.now() - ended) / 1000;
      return timed(share, () => inner.apply(this, args));
    },
  });
}

const source = singleTurn();

/** GRPO with a reference; the reward is the share of even tokens. Completions are counted in tokens by `onTokens`. */
const grpoOptions = (onTokens: (count: number) => void) => ({
  ...{ promptsPerStep: settings.rows.length, completionsPerPrompt: settings.completions },
  ...{ maxCompletionLength: settings.tokens, objective: policyObjectives.grpo({ beta: 0.04 }) },
  rollouts: {
    ...source,
    async sample(request: Parameters<typeof source.sample>[0]) {
      const sampled = await timed('rollout', () => source.sample(request));
      onTokens(sampled.reduce((sum, { completionTokens }) => sum + completionTokens.length, 0));
      return sampled;
    },
  },
  rewards: {
    even(_: string, { completionTokens }: RewardContext) {
      const began = performance.now();
      const share = completionTokens.filter((id) => id % 2 === 0).length / completionTokens.length;
      ended = performance.now();
      spent.reward! += (ended - began) / 1000;
      return share;
    },
  },
});

async function measure(): Promise<object> {
  const { method, rows, steps, warmup, learningRate } = settings;
  const numbers: number[] = [];
  const marks: { readonly at: number; readonly processor: number; readonly spent: typeof spent }[] = [];
  const every = {
    ...{ rows: rows as never, steps, learningRate, schedule: 'constant' as const },
    onWarning: () => {},
    afterStep() {
      const { user, system } = process.cpuUsage();
      marks.push({ at: performance.now(), processor: (user + system) / 1e6, spent: { ...spent } });
    },
  } as const;
  const shared = {
    ...{ ...every, batchSize: rows.length },
    onLog: ({ metrics }: { metrics: { readonly loss?: number } }) => void numbers.push(metrics.loss!),
  };
  if (method === 'reward') {
    const { steps: epochs, ...others } = shared;
    await trainRewardModel({ ...others, model: await SequenceClassifier.load(settings.reward), epochs });
  } else {
    const model = await CausalLM.load(settings.model);
    if (method === 'sft') await sft({ ...shared, model });
    if (method === 'grpo') await trainPolicy({ ...every, ...grpoOptions((count) => numbers.push(count)), model });
    if (method === 'dpo') await dpo({ ...shared, model });
    if (method === 'gkd') {
      await distill({ ...shared, model, teacher: await CausalLM.load(settings.teacher), lmbda: 0, beta: 0.5 });
    }
  }
  const [first, last] = [marks[warmup - 1]!, marks.at(-1)!];
  const seconds = (last.at - first.at) / 1000;
  const shares = Object.keys(spent).map((name) => [name, (last.spent[name]! - first.spent[name]!) / seconds] as const);
  const other = 1 - shares.reduce((sum, [, share]) => sum + share, 0);
  return {
    ...{ seconds, processorSeconds: last.processor - first.processor, numbers },
    shares: { ...Object.fromEntries(shares), other },
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ versions: { node: process.versions.node }, startBytes: process.memoryUsage.rss() });
for await (const _ of createInterface({ input: process.stdin })) answer(await measure());
