import { sgd } from '@posttrain/core-tensor/optim';
import { options } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import {
  createTrainer,
  lossOnRows,
  negativeLogLikelihood,
  runSteps,
  type StepsToRun,
  type TrainingOptions,
  trainingShape,
  update,
} from '../src/index.js';
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
