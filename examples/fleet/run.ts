// GRPO whose rollouts come from servers in processes of their own, while the trainer learns: `npx tsx examples/fleet/run.ts`.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CausalLM } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import {
  type FleetEvent,
  fleetRollouts,
  policyObjectives,
  tokenRatio,
  trainPolicy,
  truncatedImportance,
} from '@posttrain/rl';
import { embeddedTask } from '../main-job/task.js';
import { type StartedServer, startOurs, startVllm } from './servers.js';

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: '2' },
    steps: { type: 'string', default: '12' },
    staleness: { type: 'string', default: '1' },
    vllm: { type: 'string' },
    'kill-at': { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const python = values.vllm ?? process.env.POSTTRAIN_VLLM_PYTHON;
const [servers, steps, maxStaleness] = [values.servers, values.steps, values.staleness].map(Number) as [
  number,
  number,
  number,
];

const model = await CausalLM.load(join(import.meta.dirname, '../pretrain-tiny/model'));
const task = embeddedTask(0, 2);
const folder = await mkdtemp(join(tmpdir(), 'fleet-'));
const started: StartedServer[] = [];
const stop = () => Promise.all(started.map((one) => one.stop()));
try {
  for (let i = 0; i < servers; i++) {
    const settings = { model: join(import.meta.dirname, '../pretrain-tiny/model'), folder };
    started.push(await (python ? startVllm(python, settings) : startOurs(settings)));
  }
  const events: FleetEvent[] = [];
  const ends: number[] = [];
  const adapter = await createAdapter(model, lora, { r: 8, targetModules: 'all-linear' }, { seed: 0 });
  const run = await trainPolicy({
    ...{ model, adapter, rows: task.train, rewards: task.rewards, seed: 0 },
    objective: { ...policyObjectives.dapo(), ratio: truncatedImportance(tokenRatio()) },
    rollouts: fleetRollouts({
      servers: started.map(({ server }) => server),
      folder,
      onEvent: (event) => void events.push(event),
    }),
    oldLogProbs: 'recomputed',
    ...{
      maxStaleness,
      steps,
      promptsPerStep: 8,
      completionsPerPrompt: 8,
      maxCompletionLength: task.maxTokens,
      learningRate: 3e-3,
    },
    afterStep: ({ step }) => {
      ends.push(performance.now());
      if (step === Number(values['kill-at'])) started[0]!.process.kill('SIGKILL');
    },
  });
  const rewards = run.history.map(({ metrics }) => metrics.reward!);
  const sampled = events.flatMap((event) => (event.kind === 'sampled' ? [event] : []));
  const compared = events.flatMap((event) => (event.kind === 'compared' ? [event.maxGap] : []));
  const lost = events.filter(({ kind }) => kind === 'lost').length;
  // A step learns from when its last group has come to its end: groups of later steps that come in between were sampled meanwhile.
  const learning = ends.map((end, step) => {
    return { step, from: Math.max(...sampled.filter((one) => one.step === step).map(({ ended }) => ended)), to: end };
  });
  const meanwhile = sampled.filter((one) => {
    return learning.some(({ step, from, to }) => step < one.step && from < one.ended && one.ended < to);
  });
  const mismatch = Math.max(...run.history.map(({ metrics }) => metrics['sampling/sampling_logp_difference/max']!));
  const mean = (values: readonly number[]) => Number((values.reduce((a, b) => a + b, 0) / values.length).toFixed(3));
  const result = {
    servers: events.flatMap((event) => (event.kind === 'probed' ? [event.is] : [])).slice(0, servers),
    steps,
    maxStaleness,
    groups: sampled.length,
    groupsByServer: started.map(({ server }) => sampled.filter((one) => one.server === server.name).length),
    lost,
    groupsSampledWhileLearning: meanwhile.length,
    maxGapOfVersions: Number(Math.max(...compared).toExponential(1)),
    maxLogProbDifference: Number(mismatch.toExponential(1)),
    rewardInFirstThreeSteps: mean(rewards.slice(0, 3)),
    rewardInLastThreeSteps: mean(rewards.slice(-3)),
  };
  console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, undefined, 2));
} finally {
  await stop();
  await rm(folder, { recursive: true, force: true });
}
