// GRPO whose rollouts come from servers in processes of their own, while the trainer learns.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import {
  type FleetEvent,
  fleetRollouts,
  policyObjectives,
  type RolloutSource,
  singleTurn,
  tokenRatio,
  trainPolicy,
  truncatedImportance,
} from '@posttrain/rl';
import { embeddedTask } from '../main-job/task.js';
import { type StartedServer, startOurs, startVllm } from './servers.js';

/** What a run is started with. */
export interface FleetRun {
  /** 0: rollouts of the model in process. */
  readonly servers: number;
  readonly steps: number;
  readonly maxStaleness: number;
  /** A Python that has vLLM; undefined: servers of our own. */
  readonly python?: string | undefined;
  /** Servers that run already, in the place of new ones; they run on afterwards. */
  readonly running?: readonly StartedServer[] | undefined;
  /** The first server is killed in this step, when the first of its groups has been sampled. */
  readonly killAt?: number | undefined;
  readonly promptsPerStep?: number;
}

export const modelFolder = join(import.meta.dirname, '../pretrain-tiny/model');

/** Runs it. What it gives is what the example prints, and the numbers of the trained adapter. */
export async function fleetRun(given: FleetRun) {
  const { servers, steps, maxStaleness, python, running, killAt, promptsPerStep = 8 } = given;
  const model = await CausalLM.load(modelFolder);
  const task = embeddedTask(0, 2);
  const folder = await mkdtemp(join(tmpdir(), 'fleet-'));
  const started: StartedServer[] = [...(running ?? []).slice(0, servers)];
  try {
    for (let i = started.length; i < servers; i++) {
      const settings = { model: modelFolder, folder };
      started.push(await (python ? startVllm(python, settings) : startOurs(settings)));
    }
    const events: FleetEvent[] = [];
    const ends: number[] = [];
    const onEvent = (event: FleetEvent) => {
      events.push(event);
      // In the middle of a step: it has groups of it in flight.
      if (event.kind === 'sampled' && event.step === killAt) started[0]!.kill();
    };
    const rollouts: RolloutSource =
      servers === 0
        ? singleTurn()
        : fleetRollouts({ servers: started.map(({ server }) => server), folder, onEvent, recheckMs: 500 });
    const adapter = await createAdapter(model, lora, { r: 8, targetModules: 'all-linear' }, { seed: 0 });
    const run = await trainPolicy({
      ...{ model, adapter, rollouts, rows: task.train, rewards: task.rewards, seed: 0 },
      objective: { ...policyObjectives.dapo(), ratio: truncatedImportance(tokenRatio()) },
      oldLogProbs: 'recomputed',
      ...{ maxStaleness, steps, promptsPerStep, completionsPerPrompt: 8, learningRate: 3e-3 },
      maxCompletionLength: task.maxTokens,
      afterStep: () => void ends.push(performance.now()),
    });
    const metric = (name: string) => run.history.map(({ metrics }) => metrics[name]!);
    const parameters = await Promise.all(Object.values(run.adapter!.parameters).map((x) => x.toArray()));
    const result = {
      servers: events.flatMap((event) => (event.kind === 'probed' ? [event.is] : [])).slice(0, servers),
      ...{ steps, maxStaleness },
      ...whatHappened(events, ends, started),
      maxLogProbDifference: rounded(Math.max(...metric('sampling/sampling_logp_difference/max'))),
      tokens: metric('num_tokens').at(-1)!,
      rewardInFirstThreeSteps: mean(metric('reward').slice(0, 3)),
      rewardInLastThreeSteps: mean(metric('reward').slice(-3)),
    };
    return { result, parameters, history: run.history };
  } finally {
    await Promise.all(started.map((one) => running?.includes(one) || one.stop()));
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of the events, and of when steps ended: who gave what, what was lost, and what was sampled while the trainer learnt. */
function whatHappened(events: readonly FleetEvent[], ends: readonly number[], started: readonly StartedServer[]) {
  const sampled = events.flatMap((event) => (event.kind === 'sampled' ? [event] : []));
  const gaps = events.flatMap((event) => (event.kind === 'compared' ? [event.maxGap] : []));
  // A step learns from when its last group has come to its end: groups of later steps that come in between were sampled meanwhile.
  const learning = ends.map((to, step) => {
    return { step, from: Math.max(...sampled.filter((one) => one.step === step).map(({ ended }) => ended)), to };
  });
  const meanwhile = sampled.filter((one) => {
    return learning.some(({ step, from, to }) => step < one.step && from < one.ended && one.ended < to);
  });
  return {
    groups: sampled.length,
    groupsByServer: started.map(({ server }) => sampled.filter((one) => one.server === server.name).length),
    lost: events.filter(({ kind }) => kind === 'lost').length,
    groupsSampledWhileLearning: meanwhile.length,
    ...(gaps.length > 0 && { maxGapOfVersions: rounded(Math.max(...gaps)) }),
  };
}

const rounded = (value: number) => Number(value.toExponential(1));
const mean = (values: readonly number[]) => Number((values.reduce((a, b) => a + b, 0) / values.length).toFixed(3));
