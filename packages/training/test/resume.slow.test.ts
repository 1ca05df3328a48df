/** Every way of continual learning, killed at every place of a stream: what `train-stream.test.ts` does for two of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyPolicy } from '../../rl/src/testing/index.js';
import { type ContinualMethod, continualMethods, reservoirBuffer, sftStage, trainStream } from '../src/index.js';

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

  const { naive, ewc, online_ewc, mas, si, l2_sp, lwf, replay, generative_replay, gem, a_gem, coma } = continualMethods;
  const sampling = { maxTokens: 2 };
  // What a folder does not keep, a merged model, is refused: train-stream.test.ts.
  type Kept = Exclude<keyof typeof continualMethods, 'adapter_per_task' | 'o_lora'>;
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
