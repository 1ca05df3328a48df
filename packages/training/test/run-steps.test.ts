import { access, cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { currentEngine, tensor } from '@posttrain/core-tensor';
import { adamW, type Named, sgd } from '@posttrain/core-tensor/optim';
import { options } from '@posttrain/interfaces';
import { ValueModel } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bema,
  createTrainer,
  ema,
  type Loss,
  lossOnRows,
  negativeLogLikelihood,
  runSteps,
  type StepsToRun,
  type TrainableModel,
  Trainer,
  type TrainingOptions,
  tokenValues,
  trainingShape,
  update,
  type WeightAverage,
} from '../src/index.js';
import { contents, expectClose } from './model.js';
import { smallRun, start } from './sft-run.js';

const mine = options('mine', trainingShape);
const rows = [{ tokens: [1, 2, 3, 4], weights: [1 / 3, 1 / 3, 1 / 3] }];

type Step = StepsToRun<object>['step'];

/** A loop of one's own: four steps, each an update on one row, unless `stepOf` makes others. `seen` counts those that began. */
async function loop(
  given: Partial<TrainingOptions>,
  more: Partial<StepsToRun<{ seen: number }>> = {},
  stepOf: (own: Step) => Step = (own) => own,
) {
  const { model, adapter } = await start;
  const settings = mine.read({ model, adapter, optimizer: sgd(), ...given });
  const trainer = await createTrainer('mine', settings);
  const state = { seen: 0 };
  const step = stepOf(async () => {
    const { loss, gradNorm } = await update(trainer, rows, negativeLogLikelihood, 0.1);
    return { loss, grad_norm: gradNorm };
  });
  const seeing: Step = (index, signal) => {
    state.seen++;
    return step(index, signal);
  };
  const run = { stage: 'mine', trainer, model, adapter, steps: 4, settings: () => ({}), state, step: seeing, ...more };
  return { trainer, state, result: runSteps(run, settings) };
}

describe('a step that the signal ends', () => {
  /** Its third step ends with the signal's reason, after an update or before. */
  const ending = (updates: boolean) => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const stepOf =
      (own: Step): Step =>
      async (index, signal) => {
        if (index < 2) return own(index, signal);
        if (updates) await own(index, signal);
        controller.abort(reason);
        throw reason;
      };
    return { reason, running: loop({ signal: controller.signal }, {}, stepOf) };
  };

  it('before its first update is not done, and its state is put back', async () => {
    const { result, trainer, state } = await ending(false).running;
    expect((await result).stopped).toEqual({ reason: 'signal', step: 2 });
    expect(trainer.step).toBe(2);
    expect(state).toEqual({ seen: 2 });
  });

  it('after an update is an error: the weights are of half a step', async () => {
    const { running, reason } = ending(true);
    await expect((await running).result).rejects.toBe(reason);
  });

  it('is an error where it says another one than the signal', async () => {
    const controller = new AbortController();
    const step = () => {
      controller.abort();
      throw new Error('broken');
    };
    await expect((await loop({ signal: controller.signal }, { step })).result).rejects.toThrow('broken');
  });
});

describe('a loop of one’s own', () => {
  it('has evaluation, the best and logs like any other', async () => {
    const evaluation = lossOnRows(rows, negativeLogLikelihood);
    const { result: running, trainer } = await loop(
      { evaluateEvery: 2, keepBest: true, loggingSteps: 2 },
      { evaluation },
    );
    const result = await running;
    expect(result.history.map(({ step, metrics }) => [step, Object.keys(metrics)[0]])).toEqual([
      [1, 'loss'],
      [1, 'eval_loss'],
      [3, 'loss'],
      [3, 'eval_loss'],
    ]);
    expect(result.best).toMatchObject({ done: 4, metric: 'eval_loss', checkpoint: undefined });
    expect((await trainer.evaluate(rows, negativeLogLikelihood)).loss).toBe(result.best!.value);
  });

  it('logs means over the steps that have a metric', async () => {
    const step = async (index: number) => ({ loss: index, ...(index % 2 === 1 && { odd: index }), epoch: index });
    const { result } = await loop({ loggingSteps: 4 }, { step });
    expect((await result).history).toEqual([{ step: 3, metrics: { loss: 1.5, odd: 2, epoch: 3 } }]);
  });
});

describe('several models in one step', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'several-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Σ w (v - target)², v being the critic's value before each predicted token. */
  const squares: Loss = {
    name: 'squares',
    annotations: ['target'],
    computeFrom(read, { weights, annotations }) {
      const values = read(tokenValues);
      const before = values.slice(1, 0, values.shape[1]! - 1);
      return { loss: before.sub(annotations.target!).square().mul(weights).sum(), metrics: {} };
    },
  };

  /** What a trainer needs of a model, and no more. */
  const bare = ({ name, config, network, weights }: TrainableModel): TrainableModel => ({
    ...{ name, config, network, weights },
    withWeights: (others) => bare({ name, config, network, weights: others } as TrainableModel) as never,
  });

  interface Cotraining {
    readonly seed?: number;
    readonly others?: (
      critic: Trainer<TrainableModel>,
    ) => Readonly<Record<string, Trainer<TrainableModel>>> | undefined;
    /** With a critic that has no `save`. */
    readonly unsaved?: boolean;
  }

  /**
   * A policy weighs its tokens by what a critic thinks of them, and the critic learns the policy's weights: each sees
   * numbers of the other, so that no gradient passes between them.
   */
  async function cotrain(given: Partial<TrainingOptions>, { seed = 3, unsaved, others }: Cotraining = {}) {
    const { model, adapter } = await start;
    const settings = mine.read({ model, adapter, optimizer: adamW(), ...given });
    const trainer = await createTrainer('mine', settings);
    const valueModel = await ValueModel.fromCausalLM(model, { seed });
    const critic = await Trainer.create(unsaved ? bare(valueModel) : valueModel, { optimizer: adamW() });
    const step = async () => {
      const [values] = await critic.read(rows, tokenValues);
      const weights = [0, 1, 2].map((t) => 1 / (3 + values![t]! ** 2));
      const policy = await update(trainer, [{ ...rows[0]!, weights }], negativeLogLikelihood, 0.01);
      const value = await update(critic, [{ ...rows[0]!, annotations: { target: weights } }], squares, 0.01);
      return { loss: policy.loss, value_loss: value.loss };
    };
    const trainers = others ? others(critic) : { value: critic };
    const run = { stage: 'mine', trainer, model, adapter, steps: 4, settings: () => ({}), state: {}, step };
    const result = await runSteps(trainers ? { ...run, others: trainers } : run, settings);
    return { result, trainer, critic };
  }

  const stopAfterTwo: TrainingOptions['beforeStep'] = ({ step, stop }) => {
    if (step === 2) stop();
  };
  const all = async ({ trainer, critic }: Awaited<ReturnType<typeof cotrain>>) => [
    ...[await contents(trainer), await contents(critic)],
    ...[trainer.step, critic.step],
  ];

  it('are in one checkpoint, and go on from it as if nothing had been', async () => {
    const outputFolder = join(folder, 'both');
    const straight = await cotrain({});
    expect(straight.critic.step).toBe(4);
    const cut = await cotrain({ outputFolder, beforeStep: stopAfterTwo });
    expect(cut.result.stopped).toEqual({ reason: 'hook', step: 2 });
    expect(await all(cut)).not.toEqual(await all(straight));
    expect(await readdir(join(outputFolder, 'checkpoint-2', 'value'))).toEqual(['config.json', 'model.safetensors']);
    const resumed = await cotrain({ outputFolder, resume: true });
    expect(await all(resumed)).toEqual(await all(straight));
    expect(resumed.result.history).toEqual(straight.result.history);

    await expect(cotrain({ outputFolder, resume: true }, { seed: 4 })).rejects.toThrow(
      /belongs to another run: value.model.weights was \w+ and is/,
    );
    await expect(cotrain({ outputFolder, resume: true }, { others: () => undefined })).rejects.toThrow(
      /value.model.weights was \w+ and is not given/,
    );
  });

  it('both have the weights of the best evaluation, from memory and from a checkpoint', async () => {
    const best = { keepBest: true, evaluateEvery: 1, bestMetric: 'loss' } as const;
    const evaluate = ({ done }: { readonly done: number }) => ({ loss: Math.abs(done - 2) });
    const twoSteps = await cotrain({ beforeStep: stopAfterTwo });
    for (const outputFolder of [undefined, join(folder, 'best')]) {
      const { trainer, critic } = await cotrain({ ...best, evaluate, ...(outputFolder && { outputFolder }) });
      for (const [kept, wanted] of [
        [trainer, twoSteps.trainer],
        [critic, twoSteps.critic],
      ] as const) {
        const ofParameters = async (one: Trainer<TrainableModel>) =>
          Object.entries(await contents(one)).filter(([name]) => name.startsWith('parameters.'));
        expect(await ofParameters(kept)).toEqual(await ofParameters(wanted));
        expect(kept.step).toBe(4);
      }
    }
  });

  it('are saved as parameters only where a model has no save', async () => {
    const outputFolder = join(folder, 'unsaved');
    await cotrain({ outputFolder }, { unsaved: true });
    const value = join(outputFolder, 'checkpoint-4', 'value');
    expect(await readdir(value)).toEqual(['model.safetensors']);
    await access(join(outputFolder, 'checkpoint-4', 'adapter_model.safetensors'));
  });

  it.each(['state', 'parameters', 'a.b', ''])('cannot be called %j', async (name) => {
    const wrong = cotrain({}, { others: (critic) => ({ [name]: critic }) });
    await expect(wrong).rejects.toThrow(/of others cannot name a trainer: it must be letters/);
  });
});

describe('an average of the weights', () => {
  type Weights = Readonly<Record<string, readonly number[]>>;
  /** An average along given weights: what it is after each update. */
  async function along(average: WeightAverage, weights: readonly Weights[]): Promise<Record<string, number[]>[]> {
    const named = (w: Weights): Named => Object.fromEntries(Object.entries(w).map(([k, x]) => [k, tensor([...x])]));
    let kept = average.init(named(weights[0]!));
    const found: Record<string, number[]>[] = [];
    for (const [i, w] of weights.slice(1).entries()) {
      const context = { engine: currentEngine(), copy: async () => named(w) };
      kept = (await average.update(i + 1, named(w), kept, context)) ?? kept;
      const values = Object.entries(kept.average).map(async ([k, x]) => [k, await x.toArray()] as const);
      found.push(Object.fromEntries(await Promise.all(values)));
    }
    return found;
  }
  const inCamelCase = (given: object) =>
    Object.fromEntries(Object.entries(given).map(([k, x]) => [k.replace(/_([a-z])/g, (_, c) => c.toUpperCase()), x]));

  it('is that of TRL’s BEMACallback and of torch, update by update', async () => {
    const path = join(import.meta.dirname, '../../../goldens/averaging/averages.json');
    type Cases = readonly { readonly options: object; readonly average: readonly Weights[] }[];
    const golden = JSON.parse(await readFile(path, 'utf8')) as { weights: Weights[]; bema: Cases; ema: Cases };
    for (const [make, cases] of [
      [bema, golden.bema],
      [ema, golden.ema],
    ] as const) {
      for (const { options: given, average } of cases) {
        const found = await along(make(inCamelCase(given)), golden.weights);
        found.forEach((one, i) => {
          for (const name of ['a', 'b']) expectClose(one[name]!, average[i]![name]!, 1e-6);
        });
      }
    }
  });

  it('is where the weights are when they rest; the correction takes away the lag behind weights that move', async () => {
    const resting = Array.from({ length: 8 }, () => ({ a: [2, -3] }));
    for (const average of [ema({ decay: 0.9 }), bema({ updateFreq: 1 })]) {
      expectClose((await along(average, resting)).at(-1)!.a!, [2, -3]);
    }
    // On a straight line an average with decay d is behind by d (1 - d^t) / (1 - d) steps.
    const moving = Array.from({ length: 31 }, (_, t) => ({ a: [t] }));
    const [lagging] = (await along(ema({ decay: 0.5 }), moving)).at(-1)!.a!;
    expect(lagging).toBeCloseTo(29 + 0.5 ** 30, 5);
    const [plain] = (await along(bema({ updateFreq: 1, biasPower: 50 }), moving)).at(-1)!.a!;
    const [corrected] = (await along(bema({ updateFreq: 1, biasPower: 0.5 }), moving)).at(-1)!.a!;
    expect(Math.abs(corrected! - 30)).toBeLessThan(Math.abs(plain! - 30));
  });

  it('is beside the run: it changes nothing, is in checkpoints and a folder, and goes on bit for bit', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'averages-'));
    try {
      const weightAverage = bema({ updateFreq: 2, lag: 1 });
      const options = { steps: 6, weightAverage };
      const [without, whole] = [
        await smallRun({ steps: 6 }),
        await smallRun({ ...options, outputFolder: join(folder, 'a'), saveSteps: 3 }),
      ];
      expect(await contentsOf(whole.trainer.parameters)).toEqual(await contentsOf(without.trainer.parameters));
      expect(whole.averaged).not.toEqual(whole.trainer.parameters);
      await cp(join(folder, 'a/checkpoint-3'), join(folder, 'b/checkpoint-3'), { recursive: true });
      const rest = await smallRun({ ...options, outputFolder: join(folder, 'b'), resume: true });
      expect(await contentsOf(rest.averaged!)).toEqual(await contentsOf(whole.averaged!));
      const loaded = await loadAdapter((await start).model, join(folder, 'a/bema'));
      expect(await contentsOf(loaded.parameters)).toEqual(await contentsOf(whole.averaged!));
      await expect(
        smallRun({ steps: 6, weightAverage: bema({ updateFreq: 3 }), outputFolder: join(folder, 'b'), resume: true }),
      ).rejects.toThrow(/weightAverage.updateFreq was 2 and is 3/);
      await expect(smallRun({ weightAverage: { name: 'mine' } as never })).rejects.toThrow(/weightAverage.*bema\(\)/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

const contentsOf = async (named: Named) =>
  Object.fromEntries(await Promise.all(Object.entries(named).map(async ([name, x]) => [name, await x.toArray()])));
