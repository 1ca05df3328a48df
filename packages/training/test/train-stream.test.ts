import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Named } from '@posttrain/core-tensor/optim';
import { perplexity, sequenceLogProbs } from '@posttrain/lm';
import { createAdapter, lora, mergeAdapter, type PeftAdapter, progressivePrompt } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyPolicy } from '../../rl/src/testing/index.js';
import { dpo } from '../../rl/src/training/dpo-trainer.js';
import {
  type ContinualMethod,
  type ContinualStage,
  type ContinualTask,
  continualMethods,
  oLora,
  reservoirBuffer,
  sftStage,
  type TrainStreamOptions,
  type TrainStreamResult,
  trainStream,
} from '../src/index.js';
import { synthesis } from './replay-run.js';

beforeAll(() => setEngine(referenceEngine()));

const rowsOf = (cycle: string) =>
  [0, 1, 2].map((from) => ({ prompt: cycle[from]!, completion: cycle.repeat(2).slice(from + 1, from + 3) }));
const tasks: readonly ContinualTask[] = ['abc', 'gfe', 'dcb'].map((name) => ({ name, rows: rowsOf(name) }));
const stage = sftStage({ steps: 3, batchSize: 3, learningRate: 0.05, schedule: 'constant', optimizer: 'sgd' });
const stream = async (options: Partial<TrainStreamOptions>): Promise<TrainStreamResult> =>
  trainStream({ model: await tinyPolicy(1), tasks, stage, ...options });

describe('a stream of tasks', () => {
  let naive: TrainStreamResult;
  beforeAll(async () => {
    naive = await stream({});
  });

  it('fills R[i, j] for every score, whose last row is that of the model it gives', async () => {
    const { matrix, baseline, model } = naive;
    expect(Object.keys(matrix).sort()).toEqual(['exact_match', 'loss', 'mean_token_accuracy', 'perplexity']);
    expect(matrix.loss!.map((row) => row.length)).toEqual([3, 3, 3]);
    const again = await stream({ model, tasks: tasks.slice(2) });
    expect(again.baseline.loss![0]).toBeCloseTo(matrix.loss![2]![2]!, 5);
    for (const [j] of tasks.entries())
      expect(matrix.loss![j]![j]!).toBeLessThan([baseline.loss!, ...matrix.loss!][j]![j]!);
    expect(matrix.perplexity![1]![2]!).toBeCloseTo(Math.exp(matrix.loss![1]![2]!), 10);
  });

  it('of domains of texts has the perplexity that lm computes', async () => {
    const domains = ['abcabc', 'ggffgg'].map((text) => ({ name: text, rows: [{ text }] }));
    const { model, matrix } = await stream({ tasks: domains });
    for (const [j, { rows }] of domains.entries()) {
      // The first token is predicted from nothing, and the end token is trained.
      const tokens = [...model.tokenizer.encode(rows[0]!.text), 7];
      expect(matrix.perplexity![1]![j]!).toBeCloseTo(perplexity(await sequenceLogProbs(model, [tokens])), 3);
    }
  });

  const { ewc, online_ewc, mas, si, l2_sp, lwf, replay, generative_replay, gem, a_gem, coma, ssr } = continualMethods;
  it.each<[string, () => ContinualMethod]>([
    ['ewc', () => ewc({ lambda: 0 })],
    ['online EWC', () => online_ewc({ lambda: 0 })],
    ['MAS', () => mas({ lambda: 0 })],
    ['SI', () => si({ c: 0 })],
    ['CoMA', () => coma({ lambda: 0 })],
    ['L2-SP', () => l2_sp({ alpha: 0 })],
    ['LwF', () => lwf({ lambda: 0 })],
  ])('%s of strength 0 is fine-tuning', async (_, make) => {
    const { matrix } = await stream({ method: make(), tasks: tasks.slice(0, 2) });
    for (const [i, row] of matrix.loss!.entries()) {
      for (const [j, loss] of row.entries()) expect(loss).toBeCloseTo(naive.matrix.loss![i]![j]!, 5);
    }
  });

  it.each<[string, () => ContinualMethod]>([
    ['ewc', () => ewc({ lambda: 10, rowsPerTask: 2, samples: 2 })],
    ['online EWC', () => online_ewc({ lambda: 10, gamma: 0.9 })],
    ['MAS', () => mas({ lambda: 0.3 })],
    ['SI', () => si({ c: 10 })],
    ['L2-SP', () => l2_sp({ alpha: 2 })],
    ['LwF', () => lwf()],
    ['replay', () => replay({ buffer: reservoirBuffer(4) })],
    ['generative replay', () => generative_replay({ gamma: 1, sampling: { maxTokens: 2 }, prompts: ['a', 'g'] })],
    ['SSR', () => ssr(synthesis)],
    ['GEM', () => gem()],
    ['A-GEM', () => a_gem({ batchSize: 2 })],
    ['CoMA', () => coma()],
  ])('%s leaves the first task as it is, and changes what later ones do', async (name, make) => {
    const { matrix } = await stream({ method: make(), tasks: tasks.slice(0, 2) });
    expect(matrix.loss![0]!).toEqual(naive.matrix.loss![0]!.slice(0, 2));
    const [kept] = matrix.loss![1]! as [number, number];
    expect(kept).not.toBe(naive.matrix.loss![1]![0]!);
    // What SSR rehearses here is answered by a model of random weights, and keeps nothing.
    if (name !== 'SSR') expect(kept).toBeLessThan(naive.matrix.loss![1]![0]! + 0.02);
  });

  it('merges an adapter after each task and goes on with a new one, whose directions O-LoRA keeps apart', async () => {
    const model = await tinyPolicy(1);
    const make = (base: typeof model, seed: number) =>
      createAdapter(base, lora, { r: 2, targetModules: ['q_proj'] }, { seed });
    const factors: Named[] = [];
    const next = async ({ model: base, adapter }: { model: typeof model; adapter: unknown }, index: number) => {
      factors.push((adapter as PeftAdapter).parameters);
      const { model: merged } = await mergeAdapter(base, adapter as PeftAdapter);
      return { model: merged, adapter: await make(merged, index) };
    };
    const overlap = async (method: ContinualMethod) => {
      factors.length = 0;
      const result = await stream({ model, adapter: await make(model, 0), method, tasks: tasks.slice(0, 2) });
      // What was measured is what goes on: the merged model, beside which the new adapter is nothing.
      const again = await stream({ model: result.model, tasks: tasks.slice(1, 2) });
      expect(again.baseline.loss![0]).toBeCloseTo(result.matrix.loss![1]![1]!, 5);
      return oLora({ earlier: [factors[0]!], lambda: 1 })
        .compute(factors[1]!, oLora({ earlier: [factors[0]!], lambda: 1 }).tensors!)
        .item();
    };
    const apart = await overlap(continualMethods.o_lora({ lambda: 5, next }));
    expect(apart).toBeLessThan(0.5 * (await overlap(continualMethods.adapter_per_task({ next }))));
    await expect(stream({ method: continualMethods.o_lora({ lambda: 1, next }) })).rejects.toThrow(/needs an adapter/);
    // Directions at right angles cost nothing, others the square of their product.
    const of = (a: number[][]) => ({ 'm.lora_A.weight': tensor(a) });
    const { compute, tensors } = oLora({ earlier: [of([[1, 2]])], lambda: 3 });
    expect(await compute(of([[2, -1], [3, 1]]), tensors!).item()).toBe(75); // biome-ignore format: rows
    expect(() => oLora({ earlier: [], lambda: 1 })).toThrow(/earlier must have adapters/);
  });

  it('puts a prompt before those of earlier tasks, which stay bit for bit and answer as they did (progressive prompts)', async () => {
    const model = await tinyPolicy(1);
    const prompt = (earlier: PeftAdapter | undefined, seed: number) =>
      progressivePrompt(model, earlier, { numVirtualTokens: 1 }, { seed });
    const learnt: PeftAdapter[] = [];
    const method = continualMethods.progressive_prompts({
      next({ adapter }, index) {
        learnt.push(adapter as PeftAdapter);
        return prompt(adapter as PeftAdapter, index);
      },
    });
    const { matrix, adapter } = await stream({ model, adapter: await prompt(undefined, 0), method });
    const [first, second, third] = [...learnt, adapter as PeftAdapter];
    const tokensOf = async ({ hooks, parameters }: PeftAdapter) =>
      (hooks(parameters).virtualTokens as Tensor).toArray();
    const all = await tokensOf(third!);
    const width = all.length / 3;
    expect(all.slice(width)).toEqual(await tokensOf(second!));
    expect(all.slice(2 * width)).toEqual(await tokensOf(first!));
    expect(all.slice(0, width)).toEqual(await third!.parameters.prompt_embeddings!.toArray());
    // Of the tasks that were learnt nothing is forgotten, to the bit; those to come are asked with all that there is.
    const { loss } = matrix;
    expect([loss![2]![0], loss![2]![1]]).toEqual([loss![0]![0], loss![1]![1]]);
    expect(loss![1]![2]).not.toBe(loss![0]![2]);
    await expect(stream({ model, method })).rejects.toThrow(/progressive-prompts needs an adapter/);
  });

  it('CoMA is half way between the models before and after', async () => {
    const model = await tinyPolicy(1);
    const two = tasks.slice(0, 2);
    const first = await stream({ model, tasks: two.slice(0, 1) });
    const second = await stream({ model: first.model, tasks: two.slice(1) });
    const mean = await stream({ model, tasks: two, method: coma() });
    for (const [name, weight] of Object.entries(mean.model.weights)) {
      const between = first.model.weights[name]!.add(second.model.weights[name]!).mul(0.5);
      expect(await weight.sub(between).abs().max().item()).toBeLessThan(1e-6);
    }
  });

  it('trains an adapter from task to task beside a model that stays', async () => {
    const model = await tinyPolicy(1);
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 1 });
    for (const method of [continualMethods.online_ewc({ lambda: 1 }), lwf()]) {
      const result = await stream({ model, adapter, method, tasks: tasks.slice(0, 2) });
      expect(result.model).toBe(model);
      const again = await stream({ model, adapter: result.adapter!, tasks: tasks.slice(1, 2) });
      expect(again.baseline.loss![0]).toBeCloseTo(result.matrix.loss![1]![1]!, 5);
    }
  });
});

describe('a stream in a folder', () => {
  let folder: string;
  beforeAll(async () => {
    setEngine(onnxruntimeEngine({ threads: 1 }));
    folder = await mkdtemp(join(tmpdir(), 'stream-'));
  });
  afterAll(async () => {
    setEngine(referenceEngine());
    await rm(folder, { recursive: true });
  });

  const two = tasks.slice(0, 2);
  const settings = { steps: 3, batchSize: 3, learningRate: 0.05 };
  /** Two tasks; dies after so many steps of all. */
  const run = async (name: string, options: Partial<TrainStreamOptions>, dieAt?: number) => {
    let steps = 0;
    const afterStep = () => {
      if (++steps === dieAt) throw new Error('killed');
    };
    return stream({
      tasks: two,
      stage: sftStage({ ...settings, saveSteps: 1, afterStep }),
      outputFolder: join(folder, name),
      ...options,
    });
  };

  // All methods: resume.slow.test.ts.
  it.each<[string, () => ContinualMethod]>([
    ['si', () => continualMethods.si({ c: 10 })],
    ['replay', () => continualMethods.replay({ buffer: reservoirBuffer(4) })],
  ])(
    'with %s, killed within its second task, goes on to the same weights and scores, bit for bit',
    async (name, method) => {
      const whole = await stream({ tasks: two, stage: sftStage(settings), method: method() });
      await expect(run(name, { method: method() }, 5)).rejects.toThrow('killed');
      const rest = await run(name, { method: method(), resume: true });
      expect([rest.matrix, rest.baseline]).toEqual([whole.matrix, whole.baseline]);
      for (const [key, value] of Object.entries(whole.model.weights)) {
        expect(await rest.model.weights[key]!.toArray(), key).toEqual(await value.toArray());
      }
    },
  );

  it.each<[string, object, RegExp]>([
    ['coma', { lamda: 0.9 }, /continualMethods.coma: unknown option "lamda". Did you mean "lambda"/],
    ['coma', { lambda: 2 }, /lambda is 2; it must be a number from 0 to 1/],
    ['ewc', {}, /continualMethods.ewc: lambda is missing/],
    ['online_ewc', { lambda: 1, gamma: NaN }, /gamma is NaN/],
    ['mas', { lambda: 1, rowsPerTsk: 3 }, /unknown option "rowsPerTsk"/],
    ['si', { c: 1, xi: 0 }, /xi is 0; it must be a number above 0/],
    ['l2_sp', { alpha: '1' }, /alpha is "1"/],
    ['lwf', { temprature: 1 }, /Did you mean "temperature"/],
    ['replay', { buffer: 32 }, /buffer is 32; it must be a replay buffer/],
    ['generative_replay', { attempt: 1 }, /Did you mean "attempts"/],
    ['gem', { memoryStrenght: 1 }, /Did you mean "memoryStrength"/],
    ['a_gem', { batchSize: 0 }, /batchSize is 0/],
    ['o_lora', { lambda: 1 }, /next is missing/],
    ['adapter_per_task', {}, /next is missing/],
  ])('%s cannot be made with %o', (name, given, message) => {
    const make = continualMethods[name as 'coma'];
    expect(() => make(given)).toThrow(message);
  });

  it('a stage cannot be made with what the stream says', () => {
    expect(() => sftStage({ outputFolder: '/tmp/all-tasks' } as never)).toThrow(/unknown option "outputFolder"/);
  });

  const forgetful = { name: 'mine', family: 'replay', end() {} } as const;
  it.each<[string, Partial<TrainStreamOptions>, RegExp]>([
    ['another method', { method: continualMethods.si({ c: 11 }), resume: true }, /method.c was 10 and is 11/],
    ['other rows', { tasks: [two[0]!, { ...two[1]!, rows: two[0]!.rows }], resume: true }, /tasks.1.rows was/],
    [
      'another stage',
      { stage: sftStage({ ...settings, learningRate: 1 }), resume: true },
      /tasks.0.stage.learningRate was/,
    ],
    ['a folder that is used', {}, /belongs to an earlier run/],
    ['no folder to go on in', { outputFolder: undefined as never, resume: true }, /resume needs an outputFolder/],
    [
      'a method that goes on with another model',
      { method: continualMethods.o_lora({ lambda: 1, next: async ({ model, adapter }) => ({ model, adapter }) }) },
      /o-lora looks at tasks .* has no state\(\) and load\(\)/,
    ],
    ['a method that would be forgotten', { method: forgetful }, /mine looks at tasks .* has no state\(\) and load\(\)/],
  ])('refuses %s', async (_, options, message) => {
    await expect(run('si', { method: continualMethods.si({ c: 10 }), ...options })).rejects.toThrow(message);
  });
});

describe('stages', () => {
  const pairs = ['a', 'b'].map((prompt) => ({ prompt, chosen: 'gg', rejected: 'ff' }));
  const preferences: ContinualStage<(typeof pairs)[0]> = {
    name: 'dpo',
    takes: [],
    async train({ model, task }) {
      const { trainer } = await dpo({
        model,
        rows: task.rows,
        batchSize: 2,
        learningRate: 0.05,
        epochs: 3,
        optimizer: 'sgd',
      });
      return { trainer, adapter: undefined };
    },
    async evaluate(trainer, { model }, rows) {
      const { evaluate } = sftStage();
      const of = (side: 'chosen' | 'rejected') =>
        evaluate!(
          trainer,
          { model, adapter: undefined },
          rows.map((row) => ({ prompt: row.prompt, completion: row[side] })),
        );
      return { loss: (await of('chosen')).loss! - (await of('rejected')).loss! };
    },
  };
  const stages: TrainStreamOptions['tasks'] = [
    { name: 'pretraining', rows: [{ text: 'abcabc' }] },
    { name: 'instructions', rows: rowsOf('gfe') },
    { name: 'alignment', rows: pairs, stage: preferences },
  ];

  it('of pretraining, instructions and alignment follow each other, and R has the score that all have', async () => {
    const { matrix, baseline } = await stream({ tasks: stages, method: continualMethods.naive() });
    expect(Object.keys(matrix)).toEqual(['loss']);
    expect(matrix.loss![2]![2]!).toBeLessThan(matrix.loss![1]![2]! - 0.05);
    expect(matrix.loss![0]![0]!).toBeLessThan(baseline.loss![0]!);
  });

  const measured = (name: string): ContinualTask => ({ ...tasks[0]!, name: name, evaluate: () => ({ [name]: 1 }) });
  it.each<[string, Partial<TrainStreamOptions>, RegExp]>([
    [
      'a stage that takes no penalties',
      { tasks: stages.slice(1), method: continualMethods.l2_sp({ alpha: 1 }) },
      /l2-sp needs a stage that takes penalties, and dpo of alignment does not/,
    ],
    [
      'a stage that has no training rows',
      { tasks: stages.slice(2), method: continualMethods.mas({ lambda: 1 }) },
      /the stage dpo of alignment gives none/,
    ],
    ['two tasks of one name', { tasks: [tasks[0]!, tasks[0]!] }, /two tasks are called abc/],
    ['a task without rows', { tasks: [{ name: 'x', rows: [] }] }, /at least one row each/],
    [
      'nothing that measures',
      { tasks: [{ name: 'x', rows: pairs, stage: { ...preferences, evaluate: undefined } as never }] },
      /nothing measures x/,
    ],
    [
      'scores that have no name in common',
      { tasks: [measured('x'), measured('y')] },
      /no score is there for every task/,
    ],
    ['a method that is none', { method: 'ewc' as never }, /method/],
  ])('%s: an error that says what to do', async (_, options, message) => {
    await expect(stream(options)).rejects.toThrow(message);
  });
});
