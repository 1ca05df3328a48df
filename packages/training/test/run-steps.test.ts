import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adamW, sgd } from '@posttrain/core-tensor/optim';
import { options } from '@posttrain/interfaces';
import { ValueModel } from '@posttrain/lm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createTrainer,
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
} from '../src/index.js';
import { contents } from './model.js';
import { start } from './sft-run.js';

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
