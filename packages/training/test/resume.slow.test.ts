/**
 * Every way of continual learning, killed at every place of a stream: what `train-stream.test.ts` does for two of them. A run whose
 * optimizer's states are in a file.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyPolicy } from '../../rl/src/testing/index.js';
import {
  type ContinualMethod,
  continualMethods,
  reservoirBuffer,
  type SftOptions,
  sft,
  sftStage,
  trainStream,
} from '../src/index.js';
import { contents, wideModel } from './model.js';
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

  const { naive, ewc, online_ewc, mas, si, l2_sp, lwf, replay, generative_replay, gem, a_gem } = continualMethods;
  const sampling = { maxTokens: 2 };
  const methods: Readonly<Record<keyof typeof continualMethods, () => ContinualMethod>> = {
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
