/** Runs and streams that are killed go on as if nothing had been, whatever is minimised and whatever keeps what was learnt. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyPolicy } from '../../rl/src/testing/index.js';
import {
  type ContinualMethod,
  continualMethods,
  type DistillOptions,
  distill,
  distillStepByStep,
  dynamicFineTuning,
  labelSmoothing,
  learningWithoutForgetting,
  reservoirBuffer,
  type SftOptions,
  type StepMetrics,
  sft,
  sftStage,
  type Trainer,
  trainStream,
} from '../src/index.js';
import { lettersModel } from './letters.js';
import { contents, wideModel } from './model.js';
import { synthesis } from './replay-run.js';
import { countingRows, smallRun } from './sft-run.js';

let folder: string;
beforeAll(async () => {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  folder = await mkdtemp(join(tmpdir(), 'resume-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a stream that is killed', () => {
  const rowsOf = (cycle: string) =>
    [0, 1, 2].map((from) => ({ prompt: cycle[from]!, completion: cycle.repeat(2).slice(from + 1, from + 3) }));
  const tasks = ['abc', 'gfe'].map((name) => ({ name, rows: rowsOf(name) }));
  const settings = { steps: 3, batchSize: 3, learningRate: 0.05 };
  const run = async (method: ContinualMethod, name?: string, dieAt?: number) => {
    let steps = 0;
    const afterStep = () => {
      if (++steps === dieAt) throw new Error('killed');
    };
    const outputFolder = name === undefined ? undefined : join(folder, name);
    return trainStream({
      ...{ model: await tinyPolicy(1), tasks, method },
      stage: sftStage({ ...settings, ...(outputFolder !== undefined && { saveSteps: 1, afterStep }) }),
      ...(outputFolder !== undefined && { outputFolder, resume: true }),
    });
  };

  const { naive, ewc, online_ewc, mas, si, l2_sp, lwf, replay, generative_replay, gem, a_gem, coma, ssr } =
    continualMethods;
  const sampling = { maxTokens: 2 };
  // What a folder does not keep, a merged model or another adapter, is refused: train-stream.test.ts.
  type Kept = Exclude<keyof typeof continualMethods, 'adapter_per_task' | 'o_lora' | 'progressive_prompts'>;
  const methods: Readonly<Record<Kept, () => ContinualMethod>> = {
    naive,
    ewc: () => ewc({ lambda: 10, samples: 1 }),
    online_ewc: () => online_ewc({ lambda: 10 }),
    mas: () => mas({ lambda: 0.3 }),
    si: () => si({ c: 10 }),
    l2_sp: () => l2_sp({ alpha: 2 }),
    lwf: () => lwf(),
    replay: () => replay({ buffer: reservoirBuffer(4) }),
    generative_replay: () => generative_replay({ gamma: 1, sampling, prompts: ['a', 'g'] }),
    gem: () => gem(),
    a_gem: () => a_gem({ batchSize: 2 }),
    coma: () => coma(),
    ssr: () => ssr(synthesis),
  };
  it.each(Object.entries(methods))('goes on to the same weights and scores, bit for bit: %s', async (name, make) => {
    const whole = await run(make());
    // Within the first task, at its last step, and within the second: one after the other.
    for (const dieAt of [2, 1, 2]) await expect(run(make(), name, dieAt)).rejects.toThrow('killed');
    const rest = await run(make(), name);
    expect([rest.matrix, rest.baseline]).toEqual([whole.matrix, whole.baseline]);
    for (const [key, value] of Object.entries(whole.model.weights)) {
      expect(await rest.model.weights[key]!.toArray(), key).toEqual(await value.toArray());
    }
  });
});

describe('whole runs, of every loss of sft and of every way to distil', () => {
  const rows = ['ab', 'cd', 'ef', 'ga', 'bd'].map(([prompt, next], i) => ({
    ...{ prompt: prompt!, completion: next!.repeat(1 + (i % 3)), label: next!, rationale: `${next}a` },
  }));
  type Shared = Pick<SftOptions, 'outputFolder' | 'saveSteps' | 'resume' | 'afterStep' | 'maxTokensPerPass'>;
  const settings = { rows, steps: 4, batchSize: 4, learningRate: 0.02, onWarning: () => {} };
  const model = () => lettersModel(1);
  const teacher = () => lettersModel(7, 0.4);
  const fineTuned = (more: Partial<SftOptions>) => async (shared: Shared) =>
    sft({ ...settings, model: await model(), ...more, ...shared });
  const distilled = (more: Partial<DistillOptions>) => async (shared: Shared) =>
    distill({
      ...settings,
      model: await model(),
      teacher: await teacher(),
      maxCompletionLength: 3,
      ...more,
      ...shared,
    });
  const runs: Readonly<
    Record<string, (shared: Shared) => Promise<{ trainer: Trainer; history: readonly StepMetrics[] }>>
  > = {
    likelihood: fineTuned({}),
    'label smoothing': fineTuned({ loss: labelSmoothing({ labelSmoothingFactor: 0.1 }) }),
    dft: fineTuned({ loss: dynamicFineTuning }),
    packed: fineTuned({ packing: true, maxLength: 8, batchSize: 2 }),
    lwf: async (shared) => {
      const { network, weights } = await teacher();
      return fineTuned({ loss: learningWithoutForgetting({ teacher: { network, weights }, teacherName: 'x' }) })(
        shared,
      );
    },
    'GKD on the data': distilled({ lmbda: 0 }),
    'GKD on policy': distilled({ lmbda: 1 }),
    'GKD, the most likely tokens': distilled({ lmbda: 0, topK: 3 }),
    'sequence-level': distilled({ lmbda: 0, seqKd: true, beta: 0 }),
    'with labels': distilled({ lmbda: 0, beta: 0, alpha: 0.5, divergenceTemperature: 2 }),
    'step-by-step': async (shared) =>
      distillStepByStep({ ...settings, model: await model(), labelPrefix: 'a', rationalePrefix: 'b', ...shared }),
  };

  it.each(Object.entries(runs))(
    '%s: killed, it goes on bit for bit; a smaller pass changes rounding alone',
    async (name, run) => {
      const whole = await run({});
      const outputFolder = join(folder, `run ${name}`);
      const dies = ({ step }: { step: number }) => {
        if (step === 2) throw new Error('killed');
      };
      await expect(run({ outputFolder, saveSteps: 1, afterStep: dies })).rejects.toThrow('killed');
      const rest = await run({ outputFolder, resume: true });
      const split = await run({ maxTokensPerPass: 8 });
      const losses = ({ history }: { history: readonly StepMetrics[] }) => history.map(({ metrics }) => metrics.loss!);
      expect(losses(rest)).toEqual(losses(whole));
      losses(split).forEach((loss, i) => {
        expect(loss).toBeCloseTo(losses(whole)[i]!, 4);
      });
      for (const [key, value] of Object.entries(whole.trainer.parameters)) {
        const [straight, resumed] = [await value.toArray(), await rest.trainer.parameters[key]!.toArray()];
        expect(resumed, key).toEqual(straight);
      }
      expect(losses(whole).at(-1)).not.toBe(losses(whole)[0]);
    },
  );
});

describe('a run of sft', () => {
  it('killed at any moment, ends with the same weights, bit for bit', async () => {
    const [straight, killed] = [join(folder, 'sft'), join(folder, 'sft killed')];
    await smallRun({ outputFolder: straight });
    const run = async (...fatalStep: string[]) => {
      const program = join(import.meta.dirname, 'sft-run.ts');
      const child = spawn(process.execPath, ['--import', 'tsx', program, killed, ...fatalStep], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exit = once(child, 'exit');
      const steps: number[] = [];
      for await (const line of createInterface(child.stdout)) steps.push(Number(line));
      return { exit: await exit, steps };
    };
    const fatalStep = 1 + Math.floor(Math.random() * 6);
    const first = await run(String(fatalStep));
    expect(first.exit).toEqual([null, 'SIGKILL']);
    const second = await run();
    expect(second.exit).toEqual([0, null]);
    // It went on from the last complete checkpoint, and did no more than the step that was lost again.
    expect(second.steps[0]).toBeGreaterThanOrEqual(first.steps.at(-1)!);
    expect(second.steps.at(-1)).toBe(12);
    for (const file of ['adapter_model.safetensors', 'optimizer.safetensors']) {
      const bytes = (of: string) => readFile(join(of, 'checkpoint-12', file));
      expect((await bytes(killed)).equals(await bytes(straight)), file).toBe(true);
    }
  });
});

describe('offloadOptimizer', () => {
  it('a run that is killed at any moment ends with the same weights and states, bit for bit, and leaves no file', async () => {
    const [straight, killed, nvmePath] = ['straight', 'killed', 'states'].map((name) => join(folder, name));
    await smallRun({ outputFolder: straight! });
    const program = join(import.meta.dirname, 'sft-run.ts');
    for (const fatalStep of ['2', '5', '0']) {
      const args = ['--import', 'tsx', program, killed!, fatalStep, nvmePath!];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
      expect(await once(child, 'exit')).toEqual(fatalStep === '0' ? [0, null] : [null, 'SIGKILL']);
      expect(await readdir(nvmePath!)).toEqual([]);
    }
    for (const file of ['optimizer.safetensors', 'adapter_model.safetensors']) {
      const bytes = (run: string) => readFile(join(run, 'checkpoint-12', file));
      expect((await bytes(killed!)).equals(await bytes(straight!))).toBe(true);
    }
  });

  it.each(['adam', 'adamw_8bit', 'lion_32bit', 'lion_8bit'] as const)('has the same numbers: %s', async (optimizer) => {
    const model = await wideModel();
    const run = async (options: Partial<SftOptions>) => {
      const settings = { batchSize: 4, steps: 2, learningRate: 0.01, optimizer, ...options };
      return contents((await sft({ model, rows: countingRows, ...settings })).trainer);
    };
    const offloadOptimizer = { device: 'nvme', nvmePath: join(folder, optimizer), subGroupSize: 6000 } as const;
    expect(await run({ offloadOptimizer })).toEqual(await run({}));
  });
});
