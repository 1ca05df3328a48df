import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AfterStep, EvaluationContext } from '@posttrain/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policyObjectives, trainPolicy } from '../src/index.js';
import {
  type Controlled,
  everything,
  metricsIn,
  numbersOf,
  onlineDpo,
  STEPS,
  type Start,
  trainers,
  untimed,
} from './control-runs.js';
import { resumableRun } from './resumable-run.js';
import { prompts, toyModel } from './toy.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'control-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let count = 0;
const newFolder = () => join(root, `run-${count++}`);
const stateOf = async (folder: string, step: number) =>
  JSON.parse(await readFile(join(folder, `checkpoint-${step}`, 'trainer_state.json'), 'utf8'));

/** An evaluation that gives these losses, by steps done; one function, so that runs with it are the same run. */
const losses: number[] = [];
const evaluate = ({ done }: EvaluationContext) => ({ loss: losses[done]! });
const scripted = (...values: number[]) => {
  losses.splice(0, losses.length, ...values);
  return { evaluate, evaluateEvery: 1, bestMetric: 'loss' };
};

/** How a run is stopped after three steps, and what it says then. */
const stops: Readonly<Record<string, () => { readonly options: Controlled; readonly reason: string }>> = {
  'a signal between steps': () => {
    const controller = new AbortController();
    const afterStep: AfterStep = ({ step }) => {
      if (step === 2) controller.abort();
    };
    return { options: { signal: controller.signal, afterStep }, reason: 'signal' };
  },
  'afterStep, which is waited for': () => ({
    options: {
      async afterStep({ step, stop }) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (step === 2) stop();
      },
    },
    reason: 'hook',
  }),
  beforeStep: () => ({ options: { beforeStep: ({ step, stop }) => void (step === 3 && stop()) }, reason: 'hook' }),
};

/** A run that is killed at a random step goes on to the same numbers, metrics and files as one that was not. */
async function expectToGoOn(name: string, run: Start): Promise<void> {
  const [straight, folder] = [newFolder(), newFolder()];
  const options: Controlled = { ...everything };
  const whole = await run({ ...options, outputFolder: straight }, true);
  const killAt = Math.floor(Math.random() * (STEPS - 1));
  const script = join(import.meta.dirname, 'control-runs.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, name, folder, String(killAt)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  const onWarning = () => {};
  const resumed = await run({ ...options, outputFolder: folder, resume: true, onWarning }, true);
  const where = `killed at step ${killAt}`;
  expect(await numbersOf(resumed), where).toEqual(await numbersOf(whole));
  expect(await metricsIn(folder), where).toEqual(await metricsIn(straight));
  expect((await readdir(folder)).sort(), where).toEqual((await readdir(straight)).sort());
  for (const checkpoint of (await readdir(straight)).filter((file) => file.startsWith('checkpoint'))) {
    const files = await readdir(join(straight, checkpoint));
    // What the others log has the time of every step in it.
    for (const file of files.filter((one) => name === 'sft' || one.endsWith('.safetensors'))) {
      const path = join(checkpoint, file);
      const isSame = (await readFile(join(folder, path))).equals(await readFile(join(straight, path)));
      expect(isSame, `${where}: ${path}`).toBe(true);
    }
  }
}

it('a run of online DPO that is killed goes on to the same bytes', () => expectToGoOn('onlineDpo', onlineDpo));

describe.each(Object.entries(trainers))('a run of %s', (name, run) => {
  it.each(Object.entries(stops))(
    'stopped by %s keeps its result, and goes on to that of one that was not',
    async (_, make) => {
      const [straight, folder] = [newFolder(), newFolder()];
      const whole = await run({ outputFolder: straight });
      const { options, reason } = make();
      const stopped = await run({ outputFolder: folder, ...options });
      expect(stopped.stopped).toEqual({ reason, step: 3 });
      expect(stopped.trainer.step).toBe(3);
      expect(untimed(stopped.history)).toEqual(untimed(whole.history.slice(0, 3)));
      expect((await readdir(folder)).filter((file) => file.startsWith('checkpoint'))).toEqual(['checkpoint-3']);
      const resumed = await run({ outputFolder: folder, resume: true });
      expect(resumed.stopped).toBeUndefined();
      expect(await numbersOf(resumed)).toEqual(await numbersOf(whole));
      expect(await metricsIn(folder)).toEqual(await metricsIn(straight));
    },
  );

  it('does nothing with a signal that has fired, and leaves no checkpoint', async () => {
    const folder = newFolder();
    const { stopped, history, trainer } = await run({ outputFolder: folder, signal: AbortSignal.abort() });
    expect([stopped, history, trainer.step]).toEqual([{ reason: 'signal', step: 0 }, [], 0]);
    expect((await readdir(folder)).filter((file) => !file.endsWith('.jsonl'))).toEqual([]);
  });

  it('shows hooks and evaluations the step, its metrics, and the model with the adapter as they are', async () => {
    const seen: unknown[] = [];
    const first = async (adapter: { readonly parameters: unknown }) =>
      Object.values(adapter.parameters as Record<string, { toArray(): Promise<number[]> }>)
        .at(-1)!
        .toArray();
    const { history, trainer } = await run({
      async beforeStep({ step, steps, adapter }) {
        seen.push(['before', step, steps, await first(adapter)]);
      },
      async afterStep({ step, metrics, model, adapter }) {
        seen.push(['after', step, metrics.loss, await first(adapter), model.name]);
      },
      evaluateEvery: 4,
      async evaluate({ done, adapter }) {
        seen.push(['evaluate', done, await first(adapter)]);
        return { found: done };
      },
    });
    const kinds = seen.map((one) => (one as unknown[]).slice(0, 2).join(' '));
    const [a, b] = [4, 5];
    expect(kinds).toEqual([
      ...[0, 1, 2, 3].flatMap((step) => [`before ${step}`, `after ${step}`]),
      'evaluate 4',
      ...[a, b].flatMap((step) => [`before ${step}`, `after ${step}`]),
      'evaluate 6',
    ]);
    const rows = seen as unknown[][];
    // Every step changes the adapter, and nothing else does.
    expect(rows[1]![3]).not.toEqual(rows[0]![3]);
    expect(rows[2]![3]).toEqual(rows[1]![3]);
    expect(rows[1]![2]).toBe(history[0]!.metrics.loss);
    expect(rows.at(-1)![2]).toEqual(await first(trainer.adapter));
    expect(history.filter(({ metrics }) => 'eval_found' in metrics).map(({ step }) => step)).toEqual([3, 5]);
  });

  it('is not changed by an evaluation on held-out rows, which gives metrics under the names of TRL', async () => {
    const folder = newFolder();
    const { history, trainer } = await run({ outputFolder: folder, evaluateEvery: 4, evaluateOnStart: true }, true);
    expect(await numbersOf({ trainer })).toEqual(await numbersOf(await run()));
    const entries = history.filter(({ metrics }) => Object.keys(metrics).some((key) => key.startsWith('eval_')));
    expect(entries.map(({ step }) => step)).toEqual([-1, 3, 5]);
    const expected = {
      sft: ['eval_entropy', 'eval_loss', 'eval_mean_token_accuracy'],
      dpo: ['eval_loss', 'eval_logps/chosen', 'eval_rewards/accuracies', 'eval_rewards/margins'],
      trainPolicy: ['eval_completions/mean_length', 'eval_reward', 'eval_rewards/reward/mean'],
    }[name]!;
    for (const { metrics } of entries) {
      expect(Object.keys(metrics)).toEqual(expect.arrayContaining(expected));
      expect(Object.keys(metrics).every((key) => key.startsWith('eval_'))).toBe(true);
    }
    const { log_history: logged } = await stateOf(folder, STEPS);
    expect(logged[0].step).toBe(0);
    if (name === 'dpo') expect(entries[0]!.metrics.eval_loss).toBeCloseTo(Math.log(2), 5);
  });

  it('gives the same evaluation of the same weights', async () => {
    const { history } = await run({ learningRate: 0, evaluateEvery: 2, evaluateOnStart: true } as Controlled, true);
    const evaluations = history.filter(({ metrics }) => Object.keys(metrics)[0]!.startsWith('eval_'));
    expect(evaluations).toHaveLength(4);
    for (const { metrics } of evaluations) expect(metrics).toEqual(evaluations[0]!.metrics);
  });

  it.each([true, false])('ends with the weights of the best evaluation (into a folder: %s)', async (hasFolder) => {
    const after: number[][][] = [];
    const folder = newFolder();
    const options: Controlled = {
      ...scripted(9, 5, 3, 4, 3, 3.5, 8),
      keepBest: true,
      async afterStep({ adapter }) {
        const parameters = Object.values(adapter.parameters as Record<string, { toArray(): Promise<number[]> }>);
        after.push(await Promise.all(parameters.map((x) => x.toArray())));
      },
      ...(hasFolder && { outputFolder: folder, saveTotalLimit: 1 }),
    };
    const result = await run(options);
    expect(after).toHaveLength(STEPS);
    expect(await numbersOf(result)).toEqual(after[1]);
    expect(after[1]).not.toEqual(after[5]);
    expect(result.best).toMatchObject({ done: 2, metric: 'eval_loss', value: 3 });
    expect(result.stopped).toBeUndefined();
    if (!hasFolder) return;
    expect(result.best!.checkpoint).toBe(join(folder, 'checkpoint-2'));
    expect((await readdir(folder)).filter((file) => file.startsWith('checkpoint')).sort()).toEqual([
      'checkpoint-2',
      'checkpoint-6',
    ]);
    const state = await stateOf(folder, STEPS);
    expect([state.best_metric, state.best_model_checkpoint]).toEqual([3, 'checkpoint-2']);
    // A finished run gives the same again.
    expect(await numbersOf(await run({ ...options, resume: true }))).toEqual(after[1]);
  });

  it('ends early where nothing better comes, and stays ended', async () => {
    const folder = newFolder();
    const options: Controlled = {
      ...scripted(9, 5, 4, 3.9, 4.5, 3.8, 1),
      patience: 2,
      minDelta: 0.5,
      outputFolder: folder,
    };
    // 5, then 4 which is better by 1; 3.9 and 4.5 are not better than the best by more than 0.5.
    const result = await run(options);
    expect(result.stopped).toEqual({ reason: 'early stopping', step: 4 });
    expect(result.best).toMatchObject({ done: 3, value: 3.9 });
    const again = await run({ ...options, resume: true });
    expect([again.stopped, again.trainer.step]).toEqual([result.stopped, 4]);
    expect(await numbersOf(again)).toEqual(await numbersOf(result));
    await expect(run({ ...options, patience: 3, resume: true })).rejects.toThrow(/patience was 2 and is 3/);
    const longer = await run({ ...options, patience: 3, resume: true, allowChanged: ['patience'] });
    expect(longer.stopped).toEqual({ reason: 'early stopping', step: 5 });
  });

  it('makes up for an evaluation that a signal has cut off', async () => {
    const [straight, folder] = [newFolder(), newFolder()];
    const options: Controlled = { ...scripted(9, 5, 4, 3, 6, 7, 8), keepBest: true };
    const whole = await run({ ...options, outputFolder: straight });
    const controller = new AbortController();
    let isCut = true;
    losses.splice(0, losses.length);
    Object.defineProperty(losses, 3, {
      get() {
        if (!isCut) return 3;
        controller.abort();
        throw controller.signal.reason;
      },
      configurable: true,
    });
    [losses[0], losses[1], losses[2], losses[4], losses[5], losses[6]] = [9, 5, 4, 6, 7, 8];
    const cut = await run({ ...options, outputFolder: folder, signal: controller.signal });
    expect(cut.stopped).toEqual({ reason: 'signal', step: 3 });
    expect(cut.best).toMatchObject({ done: 2 });
    isCut = false;
    const resumed = await run({ ...options, outputFolder: folder, resume: true });
    Object.defineProperty(losses, 3, { value: 3, writable: true, configurable: true });
    expect(resumed.best).toEqual({ ...whole.best, checkpoint: join(folder, 'checkpoint-3') });
    expect(await numbersOf(resumed)).toEqual(await numbersOf(whole));
    expect(await metricsIn(folder)).toEqual(await metricsIn(straight));
  });

  it('that is killed goes on to the same bytes, evaluations and the best among them', () => expectToGoOn(name, run));

  it('is refused with another evaluation where that decides what it ends with, and only there', async () => {
    const [kept, watched] = [newFolder(), newFolder()];
    const half: AfterStep = ({ step, stop }) => void (step === 1 && stop());
    const options = scripted(9, 5, 4, 3, 6, 7, 8);
    await run({ ...options, keepBest: true, outputFolder: kept, afterStep: half });
    const other = run({ ...options, keepBest: true, outputFolder: kept, resume: true, evaluateEvery: 2 });
    await expect(other).rejects.toThrow(/evaluateEvery was 1 and is 2/);
    await run({ ...options, outputFolder: watched, afterStep: half });
    const { history } = await run({ ...options, outputFolder: watched, resume: true, evaluateEvery: 3 });
    expect(history.filter(({ metrics }) => 'eval_loss' in metrics).map(({ step }) => step)).toEqual([0, 1, 2, 5]);
  });

  it.each<[Controlled, RegExp]>([
    [{ keepBest: true }, /keepBest needs something to evaluate: give evaluationRows, or evaluate/],
    [{ patience: 1 }, /patience needs something to evaluate/],
    [{ evaluateEvery: 2 }, /evaluateEvery needs something to evaluate/],
    [{ evaluateOnStart: true }, /evaluateOnStart needs something to evaluate/],
    [{ evaluateEvery: 0, evaluate }, /evaluateEvery is 0; it must be a whole number of at least 1/],
    [{ evaluate: () => ({ a: 'b' }) as never }, /the metric a is "b", not a number/],
    [{ evaluate: () => 1 as never }, /evaluate gave 1; it must give metrics by name/],
    [{ evaluate: () => ({ loss: 1, eval_loss: 2 }) }, /the metric eval_loss is there twice/],
    [
      { evaluate: () => ({ found: 1 }), keepBest: true, bestMetric: 'lost' },
      /bestMetric eval_lost is not there in the evaluation after 6 steps, which has eval_found/,
    ],
    [{ evaluate: () => ({ loss: Number.NaN }), keepBest: true, bestMetric: 'loss' }, /bestMetric eval_loss is NaN/],
    [{ signal: {} as AbortSignal }, /signal is an object with no keys; it must be an AbortSignal/],
    [{ load_best_model_at_end: true } as Controlled, /It is called "keepBest" here/],
    [{ trackers: [{}] as never }, /trackers is \[.*; it must be a list of trackers/],
  ])('refuses %o by name', async (options, message) => {
    await expect(run(options)).rejects.toThrow(message);
  });
});

describe('a signal inside a step of trainPolicy', () => {
  const policy = (options: Controlled & Record<string, unknown>) =>
    trainers.trainPolicy(options as Controlled) as ReturnType<typeof trainPolicy>;

  it('ends the rollout, and the step is done again whole when the run goes on', async () => {
    const [straight, folder] = [newFolder(), newFolder()];
    const sampling = { maxCompletionLength: 12 };
    const whole = await policy({ ...sampling, outputFolder: straight });
    const controller = new AbortController();
    const beforeStep = ({ step }: { step: number }) => {
      if (step === 2) setImmediate(() => controller.abort());
    };
    const stopped = await policy({ ...sampling, outputFolder: folder, signal: controller.signal, beforeStep });
    expect(stopped.stopped).toEqual({ reason: 'signal', step: 2 });
    expect(stopped.trainer.step).toBe(2);
    const resumed = await policy({ ...sampling, outputFolder: folder, resume: true });
    expect(await numbersOf(resumed)).toEqual(await numbersOf(whole));
    expect(await metricsIn(folder)).toEqual(await metricsIn(straight));
  });

  it('ends reward calls that would never end, and tells them', async () => {
    const controller = new AbortController();
    let told = false;
    const rewards = {
      hanging: (_: string, { signal }: { signal: AbortSignal }) => {
        signal.addEventListener('abort', () => {
          told = true;
        });
        setImmediate(() => controller.abort());
        return new Promise<number>(() => {});
      },
    };
    const { stopped, trainer } = await policy({ rewards, signal: controller.signal });
    expect([stopped, trainer.step, told]).toEqual([{ reason: 'signal', step: 0 }, 0, true]);
  });
});

const logOf = async (name: string, file: string) => {
  const lines = (await readFile(join(root, 'killed-runs', name, file), 'utf8')).trim().split('\n');
  return lines.map((line) => {
    const record = JSON.parse(line) as { step: number; metrics?: Record<string, number> };
    delete record.metrics?.step_time;
    return record;
  });
};

it('a killed run, resumed, ends with the same weights and logs, bit for bit', async () => {
  const straight = await resumableRun(join(root, 'killed-runs', 'straight'));
  // Killed at a random step, which may be before the first checkpoint.
  const killAt = Math.floor(Math.random() * 5);
  const script = join(import.meta.dirname, 'resumable-run.ts');
  const arguments_ = ['--import', 'tsx', script, join(root, 'killed-runs', 'killed'), String(killAt)];
  const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  expect((await logOf('killed', 'metrics.jsonl')).length).toBe(killAt + 1);
  expect(await resumableRun(join(root, 'killed-runs', 'killed')), `killed at step ${killAt}`).toBe(straight);
  for (const file of ['metrics.jsonl', 'completions.jsonl']) {
    expect(await logOf('killed', file), `killed at step ${killAt}`).toEqual(await logOf('straight', file));
  }
  // Six steps of two updates; every second step is saved, for this package and for others.
  const saved = await readdir(join(root, 'killed-runs', 'straight'));
  expect(saved.sort()).toEqual(['checkpoint-12', 'checkpoint-4', 'checkpoint-8', 'completions.jsonl', 'metrics.jsonl']);
  expect(await readdir(join(root, 'killed-runs', 'straight/checkpoint-12'))).toContain('model.safetensors');
  const different = trainPolicy({
    model: await toyModel(1),
    rows: prompts,
    objective: policyObjectives.grpo(),
    rewards: { zero: () => 0 },
    steps: 6,
    seed: 10,
    outputFolder: join(root, 'killed-runs', 'straight'),
    resume: true,
  });
  await expect(different).rejects.toThrow(/belongs to another run: .*seed was 9 and is 10/);
});
