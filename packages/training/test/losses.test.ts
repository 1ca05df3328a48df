import { referenceEngine, setEngine, stopGradient, type Tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, mapNamed, sgd } from '@posttrain/core-tensor/optim';
import { createRandom } from '@posttrain/interfaces/random';
import { SequenceClassifier, TokenClassifier, ValueModel } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  liftPreferenceLoss,
  minimumRisk,
  policyObjective,
  policyObjectives,
  preferenceLosses,
} from '../../rl/src/index.js';
import {
  bradleyTerry,
  type CoupledLoss,
  collisionEntropy,
  decision,
  distillation,
  forwardBackwardCoupled,
  hiddenStates,
  implicitFeedback,
  type Loss,
  labelSmoothing,
  logProbsOf,
  meanLogProb,
  negativeLogLikelihood,
  ofTeacher,
  outcomeReward,
  plackettLuce,
  predictions,
  processReward,
  type Read,
  type Readout,
  sequenceLogits,
  sequenceLogProb,
  Trainer,
  type TrainingRow,
  tokenLogits,
  tokenValues,
  type UpdateRule,
  updateByRule,
  weightedSum,
} from '../src/index.js';
import { microBatches, toBatch } from '../src/loss/rows.js';
import { type TestLossOptions, testLoss } from '../src/testing/index.js';
import { expectClose } from './model.js';

beforeAll(() => setEngine(referenceEngine()));

const rows: TrainingRow[] = [
  [3, 17, 24, 9, 12, 7],
  [9, 2, 31],
  [10, 4, 8, 15, 16, 23, 32, 37, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  [12, 13, 14, 15],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 27) }));

const start = async (maxTokensPerPass = 4096, seed = 3) =>
  Trainer.create(await tinyModel('llama', seed), { optimizer: sgd(), maxTokensPerPass });

const normOf = async (trainer: { takeGradients: Trainer['takeGradients'] }) =>
  (await trainer.takeGradients())['model.norm.weight']!.toArray();

describe('a loss over readouts', () => {
  it('with today’s formula is today’s loss', async () => {
    const same: Loss = {
      name: 'same',
      annotations: [],
      computeFrom: (read, { weights }) => ({
        loss: weightedSum(read(predictions()).logProbs.neg(), weights),
        metrics: {},
      }),
    };
    const trainer = await start();
    const { loss } = await trainer.forwardBackward(rows, same);
    const gradient = await normOf(trainer);
    expect((await trainer.forwardBackward(rows, negativeLogLikelihood)).loss).toBe(loss);
    expect(await normOf(trainer)).toEqual(gradient);
  });

  it('takes another number each step without a new graph, and refuses what it does not name', async () => {
    let traced = 0;
    const scaled: Loss = {
      name: 'scaled',
      annotations: [],
      scalars: ['factor'],
      computeFrom(read, { weights, scalars }) {
        traced++;
        return { loss: weightedSum(read(predictions()).logProbs, weights).mul(scalars.factor!), metrics: {} };
      },
    };
    const trainer = await start();
    const losses: number[] = [];
    for (const factor of [1, 2, -3, 0.5]) {
      losses.push((await trainer.forwardBackward(rows, scaled, { scalars: { factor } })).loss);
      await trainer.takeGradients();
    }
    expectClose(
      losses,
      [1, 2, -3, 0.5].map((factor) => factor * losses[0]!),
      1e-6,
    );
    expect(traced).toBe(1);
    expectClose([(await trainer.evaluate(rows, scaled, { scalars: { factor: 2 } })).loss], [losses[1]!], 1e-6);
    await expect(trainer.forwardBackward(rows, scaled)).rejects.toThrow(/needs the scalar factor/);
    const unknown = trainer.forwardBackward(rows, scaled, { scalars: { factor: 1, facto: 2 } });
    await expect(unknown).rejects.toThrow(/takes no scalar facto; those it takes: factor/);
    await expect(trainer.forwardBackward(rows, scaled, { scalars: { factor: Number.NaN } })).rejects.toThrow(/is NaN/);
  });

  const spread: Loss = {
    name: 'annotated',
    annotations: [
      'plain',
      { name: 'ids', per: 'prediction', width: 2, dtype: 'int32' },
      { name: 'shift', per: 'row' },
      { name: 'vector', per: 'row', width: 3 },
    ],
    computeFrom(read, { weights, annotations }) {
      const { plain, ids, shift, vector } = annotations;
      expect([plain!.rank, ids!.rank, shift!.rank, vector!.rank, ids!.dtype]).toEqual([2, 3, 1, 2, 'int32']);
      const perRow = shift!.add(vector!.sum(1)).mul(weights.max(1));
      const perToken = plain!.add(ids!.cast('float32').sum(2)).mul(weights).sum(1);
      return { loss: read(predictions()).logProbs.mul(0).sum().add(perRow.add(perToken).sum()), metrics: {} };
    },
  };
  const annotated = rows.map((row, i) => ({
    ...row,
    annotations: {
      plain: row.weights,
      ids: Array.from({ length: 2 * row.weights.length }, (_, t) => 16_777_217 * (t % 2)),
      shift: [i],
      vector: [1, 2, 3],
    },
  }));

  it('reads annotations of any width, per prediction and per row, whole numbers exactly', async () => {
    const expected = rows.reduce(
      (sum, { weights }, i) => sum + (i + 6 + weights.length * (1 / 27 + 16_777_217)) / 27,
      0,
    );
    for (const maxTokens of [4096, 16]) {
      const { loss } = await (await start(maxTokens)).evaluate(annotated, spread);
      expect(loss / expected).toBeCloseTo(1, 6);
    }
  });

  it.each([
    [{ shift: [1, 2] }, /row 1: shift has 2 entries for the row/],
    [{ vector: [1] }, /vector has 1 entries for the row of 3 numbers each/],
    [{ ids: [1, 2, 3] }, /ids has 3 entries for 2 predictions of 2 numbers each/],
    [{ ids: [1, 2, 3, 0.5] }, /ids\[3\] is 0.5, no int32/],
    [{ plain: [1, Number.NaN] }, /plain\[1\] is NaN/],
  ])('refuses %j', async (wrong, message) => {
    const [first, second] = annotated;
    const bad = { ...second!, annotations: { ...second!.annotations, ...wrong } };
    await expect((await start()).forwardBackward([first!, bad], spread)).rejects.toThrow(message);
  });

  it('keeps groups of any size together, wherever their rows stand', async () => {
    /** Plackett-Luce (one winner): -log softmax within a group, at the row whose annotation is 1. */
    const listwise: Loss = {
      name: 'listwise',
      annotations: [{ name: 'wins', per: 'row' }],
      groupSize: 'any',
      computeFrom(read, { annotations, groups }) {
        const scores = read(sequenceLogProb);
        const b = groups!.shape[0]!;
        const together = groups!
          .reshape([b, 1])
          .equal(groups!.reshape([1, b]))
          .cast('float32');
        const sums = together.mul(scores.exp().reshape([1, b])).sum(1);
        return { loss: weightedSum(sums.log().sub(scores), annotations.wins!), metrics: {} };
      },
    };
    const grouped = [...rows, rows[0]!].map((row, i) => ({
      ...row,
      group: ['x', 'y', 'x', 'y', 'x'][i]!,
      annotations: { wins: [i < 2 ? 1 : 0] },
    }));
    const numbers = await Promise.all(
      [4096, 16].map(async (maxTokens) => {
        const trainer = await start(maxTokens);
        const { loss } = await trainer.forwardBackward(grouped, listwise);
        return [loss, ...(await normOf(trainer))];
      }),
    );
    expectClose(numbers[0]!, numbers[1]!);
    const scores = (await (await start()).read(grouped, sequenceLogProb)).map(([score]) => score!);
    const odds = (of: number[], winner: number) =>
      Math.log(of.reduce((sum, i) => sum + Math.exp(scores[i]!), 0)) - scores[winner]!;
    expect(numbers[0]![0]).toBeCloseTo(odds([0, 2, 4], 0) + odds([1, 3], 1), 5);
    await expect((await start()).forwardBackward(rows, listwise)).rejects.toThrow(/lacks the annotation|has no group/);
  });
});

describe('Trainer.read', () => {
  it('gives the numbers of every row, in their order, however they are split', async () => {
    for (const maxTokens of [4096, 16]) {
      const trainer = await start(maxTokens);
      const { logProbs } = await trainer.read(rows, predictions());
      expect(logProbs.map(({ length }) => length)).toEqual(rows.map(({ weights }) => weights.length));
      const { loss } = await trainer.evaluate(rows, negativeLogLikelihood);
      expect(-logProbs.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0) / 27).toBeCloseTo(loss, 6);
      const sums = await trainer.read([rows[1]!, rows[0]!, rows[1]!], sequenceLogProb);
      expectClose(
        sums.map(([sum]) => sum!),
        [1, 0, 1].map((i) => logProbs[i]!.reduce((a, b) => a + b, 0)),
        1e-5,
      );
      const hidden = await trainer.read(rows, hiddenStates);
      expect(hidden.map(({ length }) => length)).toEqual(rows.map(({ tokens }) => tokens.length * 16));
    }
  });

  it('gives log p of given tokens, whatever the chunks: those of the targets among them', async () => {
    const trainer = await start();
    const withIds = rows.map((row) => ({
      ...row,
      annotations: { ids: row.tokens.slice(1).flatMap((token) => [token, 39, 0]) },
    }));
    const { logProbs } = await trainer.read(rows, predictions({ temperature: 0.7 }));
    for (const chunkSize of [7, 40]) {
      const given = await trainer.read(withIds, logProbsOf({ ids: 'ids', k: 3, temperature: 0.7, chunkSize }));
      given.forEach((row, i) => {
        expectClose(
          [...row].filter((_, t) => t % 3 === 0),
          [...logProbs[i]!],
          1e-6,
        );
      });
    }
  });

  it('gives the mean of log p over the vocabulary, whatever the chunks; smoothed labels are torn between it and the target', async () => {
    const trainer = await start();
    const every = Array.from({ length: 40 }, (_, token) => token);
    const annotations = (row: TrainingRow) => ({ ids: row.tokens.slice(1).flatMap(() => every) });
    const withAll = rows.map((row) => ({ ...row, annotations: annotations(row) }));
    const all = await trainer.read(withAll, logProbsOf({ ids: 'ids', k: 40, temperature: 0.7 }));
    for (const chunkSize of [7, 40]) {
      const read = await trainer.read(rows, meanLogProb({ temperature: 0.7, chunkSize }));
      read.forEach((row, i) => {
        const means = [...row].map((_, t) => all[i]!.slice(40 * t, 40 * (t + 1)).reduce((a, b) => a + b, 0) / 40);
        expectClose([...row], means, 1e-5);
      });
    }
    const lossOf = async (labelSmoothingFactor: number) =>
      (await trainer.evaluate(rows, labelSmoothing({ labelSmoothingFactor }))).loss;
    const [none, some, whole] = [await lossOf(0), await lossOf(0.25), await lossOf(1)];
    expect(none).toBeCloseTo((await trainer.evaluate(rows, negativeLogLikelihood)).loss, 6);
    expect(some).toBeCloseTo(0.75 * none + 0.25 * whole, 5);
    expect(whole).toBeGreaterThan(Math.log(40));
    expect(() => labelSmoothing({ labelSmoothingFactor: 1.5 })).toThrow(/labelSmoothingFactor/);
  });

  it('gives the collision entropy, whatever the chunks: of log p of all tokens, value and gradient', async () => {
    const trainer = await start();
    const every = Array.from({ length: 40 }, (_, token) => token);
    const annotations = (row: TrainingRow) => ({ ids: row.tokens.slice(1).flatMap(() => every) });
    const withAll = rows.map((row) => ({ ...row, annotations: annotations(row) }));
    const all = logProbsOf({ ids: 'ids', k: 40, temperature: 0.7 });
    const of = (name: string, annotations: Loss['annotations'], compute: (read: Read) => Tensor): Loss => ({
      ...{ name, annotations },
      computeFrom: (read, { weights }) => ({ loss: weightedSum(compute(read), weights), metrics: {} }),
    });
    const listed = of('listed', all.annotations!, (read) => read(all).mul(2).exp().sum(2).log().neg());
    const { loss } = await trainer.forwardBackward(withAll, listed);
    const gradient = await normOf(trainer);
    for (const chunkSize of [7, 40]) {
      const readout = collisionEntropy({ temperature: 0.7, chunkSize });
      const result = await trainer.forwardBackward(
        rows,
        of('read', [], (read) => read(readout)),
      );
      expect(result.loss).toBeCloseTo(loss, 6);
      expectClose(await normOf(trainer), gradient, 1e-6);
    }
    // Between 0 and Shannon's entropy.
    const read = await trainer.read(rows, collisionEntropy());
    const { entropies } = await trainer.read(rows, predictions());
    read.forEach((row, i) => {
      row.forEach((value, t) => {
        expect(value).toBeGreaterThan(0);
        expect(value).toBeLessThan(entropies[i]![t]!);
      });
    });
  });

  it('runs a teacher once for all that is read of it, without a gradient', async () => {
    const teacher = await tinyModel('llama', 5);
    let runs = 0;
    const { network, weights } = teacher;
    const counted = Object.create(network, {
      hidden: { value: (...given: Parameters<typeof network.hidden>) => [runs++, network.hidden(...given)][1] },
    }) as typeof network;
    const readout = ofTeacher({ network: counted, weights });
    const [logProbs, hidden] = [readout(predictions()), readout(hiddenStates)];
    const both: Loss = {
      name: 'both',
      annotations: [],
      computeFrom: (read, { weights: w }) => ({
        loss: weightedSum(read(logProbs).logProbs, w).add(read(hidden).mul(0).sum()),
        metrics: {},
      }),
    };
    const trainer = await start();
    const { loss } = await trainer.forwardBackward(rows, both);
    expect(runs).toBe(1);
    expect(Math.max(...(await normOf(trainer)).map(Math.abs))).toBe(0);
    const own = await Trainer.create(teacher, { optimizer: sgd() });
    expect(loss).toBeCloseTo(-(await own.evaluate(rows, negativeLogLikelihood)).loss, 6);
  });

  it.each([
    [
      'SequenceClassifier',
      SequenceClassifier,
      sequenceLogits,
      (model: SequenceClassifier, tokens: number[][]) => model.logits(tokens),
    ],
    ['TokenClassifier', TokenClassifier, tokenLogits, undefined],
    ['ValueModel', ValueModel, tokenValues, (model: ValueModel, tokens: number[][]) => model.values(tokens)],
  ] as const)('reads the head of a %s as the model itself does', async (_, Model, readout, own) => {
    const model = await (Model as typeof ValueModel).fromCausalLM(await tinyModel('llama', 3));
    const trainer = await Trainer.create(model, { optimizer: adamW(), maxTokensPerPass: 32 });
    const read = await trainer.read(rows, readout as Readout<Tensor>);
    const sequences = rows.map(({ tokens }) => [...tokens]);
    const expected = await (own as ((m: ValueModel, tokens: number[][]) => Promise<Float32Array[]>) | undefined)?.(
      model,
      sequences,
    );
    expected?.forEach((row, i) => {
      expectClose([...read[i]!], [...row], 1e-5);
    });
    // Squared values fall: the head learns.
    const square: Loss = {
      name: 'square',
      annotations: [],
      computeFrom: (r) => ({
        loss: r(readout as Readout<Tensor>)
          .square()
          .mean(),
        metrics: {},
      }),
    };
    const before = (await trainer.forwardBackward(rows.slice(0, 1), square)).loss;
    await trainer.optimStep({ learningRate: 1e-4 });
    expect((await trainer.evaluate(rows.slice(0, 1), square)).loss).toBeLessThan(before);
    expect(trainer.model).toBeInstanceOf(Model);
  });

  it('gives what forwardBackward computes next, dropout and all', async () => {
    const model = await tinyModel('llama', 3);
    const adapter = await createAdapter(model, lora, { r: 2, loraDropout: 0.5, initLoraWeights: false }, { seed: 1 });
    const trainer = await Trainer.create(model, { optimizer: sgd(), adapter, maxTokensPerPass: 16 });
    const { logProbs } = await trainer.read(rows, predictions());
    const { loss } = await trainer.forwardBackward(rows, negativeLogLikelihood);
    expect(-logProbs.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0) / 27).toBeCloseTo(loss, 6);
    expect((await trainer.evaluate(rows, negativeLogLikelihood)).loss).not.toBeCloseTo(loss, 3);
  });
});

describe('a loss that couples the rows of a step', () => {
  /** Minimum risk training (arXiv 1512.02433, eq. 9): the expected risk under p(row)^α, normalised over the rows. */
  const minimumRisk = (risks: readonly number[], alpha: number): CoupledLoss => ({
    name: 'minimum-risk',
    readout: sequenceLogProb,
    compute(values) {
      const powers = values.mul(alpha).sub(values.mul(alpha).max(0)).exp();
      const expected = risks.map((risk, i) => powers.slice(0, i, i + 1).mul(risk)).reduce((a, b) => a.add(b));
      return { loss: expected.sum().div(powers.sum()), metrics: { best: values.max(0) } };
    },
  });

  it('is the same for one pass and for one a row, and as differences of its value say', async () => {
    const loss = minimumRisk([1, 0, 0.25, 0.5], 0.2);
    const all = await Promise.all(
      [4096, 1].map(async (maxTokens) => {
        const trainer = await start(maxTokens);
        const result = await forwardBackwardCoupled(trainer, rows, loss);
        return [result.loss, result.metrics.best!, ...(await normOf(trainer))];
      }),
    );
    expectClose(all[0]!, all[1]!, 1e-6);
    const trainer = await start();
    const { loss: before } = await forwardBackwardCoupled(trainer, rows, loss);
    const gradients = await trainer.takeGradients();
    const squared = await Promise.all(Object.values(gradients).map(async (g) => g.square().sum().item()));
    const rate = 1e-4;
    await trainer.optimStep({ learningRate: rate, gradients });
    const { loss: after } = await forwardBackwardCoupled(trainer, rows, loss);
    const slope = squared.reduce((a, b) => a + b, 0);
    expect((before - after) / (rate * Math.min(1, 1 / Math.sqrt(slope)) * slope)).toBeCloseTo(1, 1);
  });
});

describe('gradients that are kept apart', () => {
  it('add up to those of one call, and a rule decides what is applied', async () => {
    const trainer = await start();
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    const whole = await normOf(trainer);
    const parts: Awaited<ReturnType<Trainer['takeGradients']>>[] = [];
    for (const part of [rows.slice(0, 2), rows.slice(2)]) {
      await trainer.forwardBackward(part, negativeLogLikelihood);
      parts.push(await trainer.takeGradients());
    }
    const sum = mapNamed(parts[0]!, (g, name) => g.add(parts[1]![name]!));
    expectClose(await sum['model.norm.weight']!.toArray(), whole, 1e-7);
    await trainer.optimStep({ learningRate: 0.5, gradients: sum });
    const straight = await start();
    await straight.forwardBackward(rows, negativeLogLikelihood);
    await straight.optimStep({ learningRate: 0.5 });
    const name = 'model.layers.0.mlp.up_proj.weight';
    expectClose(await trainer.parameters[name]!.toArray(), await straight.parameters[name]!.toArray(), 1e-7);
    expect(trainer.step).toBe(1);
  });

  it('are refused where some are there already, or one is missing', async () => {
    const trainer = await start();
    await expect(trainer.takeGradients()).rejects.toThrow(/call forwardBackward/);
    await expect(trainer.optimStep({ learningRate: 1, gradients: {} })).rejects.toThrow(/none of the shape of/);
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    const gradients = await trainer.takeGradients();
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    await expect(trainer.optimStep({ learningRate: 1, gradients })).rejects.toThrow(/have not been taken/);
  });
});

describe('what is no result', () => {
  const scalarOf = (read: Read) => read(predictions()).logProbs.sum();
  const mine = (computeFrom: (read: Read) => unknown): Loss =>
    ({ name: 'mine', annotations: [], computeFrom }) as unknown as Loss;
  it.each<[string, Parameters<Trainer['evaluate']>[1], RegExp]>([
    ['nothing', mine(() => undefined), /the loss mine gave undefined; it must give \{ loss, metrics \}/],
    ['a tensor alone', mine(scalarOf), /the loss mine gave a tensor alone/],
    [
      'no metrics',
      mine((read) => ({ loss: scalarOf(read) })),
      /gave undefined as metrics; without any it must give \{\}/,
    ],
    ['a number', mine(() => ({ loss: 1, metrics: {} })), /gave 1 as loss, and no tensor/],
    ['many', mine((read) => ({ loss: read(predictions()).logProbs, metrics: {} })), /gave loss of shape \[4, 31\]/],
    ['a metric', mine((read) => ({ loss: scalarOf(read), metrics: { x: 2 } })), /gave 2 as the metric x/],
    [
      'nothing, over tokens',
      { name: 'mine', annotations: [], compute: () => undefined as never },
      /the loss mine gave undefined/,
    ],
  ])('is refused with the name of the loss: %s', async (_, loss, message) => {
    const trainer = await start();
    await expect(trainer.evaluate(rows, loss)).rejects.toThrow(message);
    await expect(trainer.forwardBackward(rows, loss)).rejects.toThrow(message);
  });

  it('is refused with the name of what gave it: a coupled loss, a rule for updates', async () => {
    const trainer = await start();
    const coupled: CoupledLoss = { name: 'mine', readout: sequenceLogProb, compute: () => undefined as never };
    await expect(forwardBackwardCoupled(trainer, rows, coupled)).rejects.toThrow(/the loss mine gave undefined/);
    const rule = (result: unknown): UpdateRule => ({
      ...{ name: 'mine', settings: {} },
      update: async () => result as never,
    });
    for (const result of [undefined, {}, { loss: 1, gradNorm: 1 }]) {
      const updated = updateByRule(trainer, rule(result), rows, negativeLogLikelihood, { learningRate: 1 });
      await expect(updated).rejects.toThrow(/update mine, step 0: it gave .*; give \{ loss, metrics/);
    }
  });
});

describe('the kit for losses', () => {
  beforeAll(() => setEngine(onnxruntimeEngine()));

  const chance = (draw: () => number) => draw();
  const cases: Readonly<Record<string, readonly [loss: Parameters<typeof testLoss>[2], options?: TestLossOptions]>> = {
    negativeLogLikelihood: [negativeLogLikelihood],
    'distillation from a model': [async () => distillation({ teacher: await tinyModel('llama', 5), beta: 0.5 })],
    'distillation from the top k': [
      distillation({ teacher: { k: 2 }, beta: 0 }),
      { annotations: { teacher_ids: (draw) => Math.floor(draw() * 40), teacher_log_probs: (draw) => -2 - draw() } },
    ],
    bradleyTerry: [bradleyTerry({ centerRewardsCoefficient: 0.05 }), { head: 'sequence' }],
    'bradleyTerry with softLabels': [
      bradleyTerry({ softLabels: true }),
      { head: 'sequence', annotations: { probability: chance } },
    ],
    plackettLuce: [plackettLuce(), { head: 'sequence' }],
    implicitFeedback: [implicitFeedback(), { head: 'sequence', annotations: { clicked_over_propensity: chance } }],
    decision: [
      decision({ labels: 3, labelSmoothing: 0.1, brierWeight: 1, rpsWeight: 0.5 }),
      {
        ...{ head: 'sequence', labels: 3 },
        annotations: { target: chance, options: (draw) => 2 + Math.floor(2 * draw()), ordinal: chance },
      },
    ],
    'outcomeReward of one label': [outcomeReward(), { head: 'sequence', annotations: { label: chance } }],
    'outcomeReward of two': [outcomeReward(), { head: 'sequence', labels: 2, annotations: { label: chance } }],
    'processReward of one label': [processReward(), { head: 'token' }],
    'processReward with softLabels': [
      processReward({ softLabels: true }),
      { head: 'token', labels: 2, annotations: { label: chance } },
    ],
    'processReward of three': [processReward(), { head: 'token', labels: 3 }],
    'the objective of GRPO': [policyObjective(policyObjectives.grpo()).loss],
    'that with k3': [policyObjective(policyObjectives.grpo({ beta: 0.1 })).loss, { outputScale: 2 }],
    'the preference loss of DPO': [liftPreferenceLoss(preferenceLosses.sigmoid())],
    'token-DPO, with its reference in the pass': [
      async () => {
        const reference = await tinyModel('llama', 5);
        return liftPreferenceLoss(preferenceLosses.tdpo({ variant: 'tdpo1' }), { reference: () => reference });
      },
    ],
    'the preference loss of KTO': [liftPreferenceLoss(preferenceLosses.kto())],
    minimumRisk: [minimumRisk({ alpha: 0.3 })],
    'values, of groups of any size, with a scalar': [
      {
        name: 'spread',
        annotations: ['target'],
        groupSize: 'any',
        scalars: ['scale'],
        computeFrom(read, { weights, annotations, scalars, groups }) {
          const values = read(tokenValues);
          const errors = values
            .slice(1, 0, values.shape[1]! - 1)
            .sub(annotations.target!)
            .square();
          const perRow = errors.mul(weights).sum(1);
          // Σ over groups of the square of their sums.
          const isSame = groups!.expandDims(0).equal(groups!.expandDims(1)).cast('float32');
          return {
            loss: isSame.mul(perRow.expandDims(0)).mul(perRow.expandDims(1)).sum().mul(scalars.scale!),
            metrics: {},
          };
        },
      } satisfies Loss,
      { head: 'value' },
    ],
  };
  for (const [name, [loss, options]] of Object.entries(cases)) testLoss(it, name, loss, options);

  const nll = (read: Parameters<Loss['computeFrom']>[0]) => read(predictions()).logProbs.neg();
  const own = (computeFrom: Loss['computeFrom'], more: Partial<Loss> = {}): Loss => ({
    name: 'wrong',
    annotations: [],
    computeFrom,
    ...more,
  });
  /** Losses that are wrong, and what says so. */
  const wrong: Readonly<Record<string, readonly [check: RegExp, loss: Loss, said: RegExp, options?: TestLossOptions]>> =
    {
      'a mean over its rows': [
        /micro-batches/,
        own((read, { weights }) => ({ loss: nll(read).mul(weights).mean(), metrics: {} })),
        /the loss of a group at a time is/,
      ],
      'no weights': [
        /padding/,
        own((read) => ({ loss: nll(read).sum(), metrics: {} })),
        /the loss with more padding is/,
      ],
      'the place of a row': [
        /order the groups/,
        own((read, { weights }) => {
          const perRow = weightedSum(nll(read), weights).expandDims(0);
          return { loss: perRow.sum().add(nll(read).mul(weights).slice(0, 0, 1).sum()), metrics: {} };
        }),
        /the loss of groups in another order is/,
      ],
      'a gradient that is stopped': [
        /gradient of its value/,
        own((read, { weights }) => ({
          loss: weightedSum(nll(read).mul(stopGradient(nll(read))), weights),
          metrics: {},
        })),
        /the gradient is .*, and the difference/,
      ],
      'a logarithm of a probability': [
        /as sure as can be/,
        own((read, { weights }) => ({ loss: weightedSum(nll(read).neg().exp().log().neg(), weights), metrics: {} })),
        /the loss is NaN/,
      ],
      'an annotation that it does not read': [
        /that it declares/,
        own((read, { weights }) => ({ loss: weightedSum(nll(read), weights), metrics: {} }), {
          annotations: ['advantages'],
        }),
        /annotations that it reads, and declares/,
      ],
      'a whole row of which it says nothing': [
        /that it declares/,
        own((read, { weights }) => ({
          loss: weightedSum(read(sequenceLogits).squeeze(1), weights.sum(1)),
          metrics: {},
        })),
        /so it must say wholeRow/,
        { head: 'sequence' },
      ],
      'a scalar that is a constant': [
        /scalars as inputs/,
        own(
          (() => {
            let calls = 0;
            return (read, { weights, scalars }) => {
              calls++;
              return { loss: weightedSum(nll(read), weights).mul(scalars.scale!).mul(calls), metrics: {} };
            };
          })(),
          { scalars: ['scale'] },
        ),
        /the loss with other scalars is/,
      ],
    };
  it.each(Object.entries(wrong))('finds %s', async (_, [check, loss, said, options]) => {
    const bodies: (() => Promise<void>)[] = [];
    testLoss((name, body) => check.test(name) && bodies.push(body), 'wrong', loss, options);
    expect(bodies.length).toBe(1);
    await expect(bodies[0]!()).rejects.toThrow(said);
  });
});

describe('the sizes of passes', () => {
  /** Sizes are compiled for themselves: docs/rl/train-policy.md has the formula. */
  const most = (longest: number, rows: number, maxTokens: number): number => {
    const widths = Array.from({ length: longest }, (_, i) => i + 1).map(
      (n) => Math.ceil(n / (n <= 128 ? 16 : 64)) * (n <= 128 ? 16 : 64),
    );
    const counts = Array.from({ length: rows }, (_, i) =>
      i < 8 ? 2 ** Math.ceil(Math.log2(i + 1)) : 8 * Math.ceil((i + 1) / 8),
    );
    const sizes = [...new Set(widths)].flatMap((width) =>
      [...new Set(counts)].filter((count) => count === 1 || count * width <= maxTokens),
    );
    return sizes.length;
  };

  it.each([
    { steps: 1000, longest: 84, rows: 8, maxTokens: 4096, bound: 24 },
    { steps: 100, longest: 1024, rows: 16, maxTokens: 4096, bound: 90 },
  ])(
    'are few over $steps steps of free lengths: $rows rows of up to $longest tokens',
    ({ steps, longest, rows, maxTokens, bound }) => {
      expect(most(longest, rows, maxTokens)).toBe(bound);
      const random = createRandom(0, 'lengths');
      const sizes = new Set<string>();
      let [tokens, padded] = [0, 0];
      for (let step = 0; step < steps; step++) {
        const all = Array.from({ length: rows }, () => {
          const length = random.integer(2, longest);
          return { tokens: new Array<number>(length).fill(0), weights: new Float32Array(length - 1) };
        });
        for (const pass of microBatches(all, maxTokens, 1)) {
          const [count, width] = toBatch(pass, [], 1).tokens.shape as [number, number];
          sizes.add(`${count} × ${width}`);
          tokens += pass.reduce((sum, row) => sum + row.tokens.length, 0);
          padded += count * width;
        }
      }
      expect(sizes.size).toBeLessThanOrEqual(bound);
      expect(padded / tokens).toBeLessThan(2);
    },
  );
});
