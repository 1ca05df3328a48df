import assert from 'node:assert/strict';
import {
  compile,
  type Engine,
  realize,
  referenceEngine,
  scalar,
  type Tensor,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import { type Annotation, annotationSpec } from '../loss/annotation.js';
import type { Loss, Read } from '../loss/loss.js';
import { type RowBatch, type TrainingRow, toBatch } from '../loss/rows.js';
import { forwardPass, lossInputs } from '../trainer/forward-pass.js';
import { type AnyLoss, asLoss } from '../trainer/lift-token-loss.js';
import { copiesOf } from '../trainer/parameters.js';
import { scalarsOf } from '../trainer/scalars.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import { Trainer } from '../trainer/trainer.js';
import { type AnnotationDraws, directionOf, type KitHead, kitModel, kitRows, paddedFurther } from './kit-model.js';

/** Options of `testLoss`. */
export interface TestLossOptions {
  /**
   * What the model ends in: an output layer over a vocabulary of 40 tokens, or a head for sequences, tokens or
   * values. Default `vocabulary`.
   */
  readonly head?: KitHead;
  /** Outputs of a head for sequences or tokens. Default 1. */
  readonly labels?: number;
  /** Numbers of annotations, by name, each from uniform ones. Default: from -1 to 1, and of int32 0 or 1. */
  readonly annotations?: AnnotationDraws;
  /** The loss's scalars. Default 0.5 each. */
  readonly scalars?: Readonly<Record<string, number>>;
  /** Whether it stops a gradient on purpose, so that its gradient is not that of its value. Default false. */
  readonly stopsGradients?: boolean;
  /**
   * What the output layer is multiplied by, to see whether the loss stays finite. Default 1000, with which
   * log-probabilities go to thousands; the k3 estimator, an exponential of their differences, leaves float32 from
   * about 20 on.
   */
  readonly outputScale?: number;
  /** Largest difference, as a part of the value or of the largest gradient, that counts as rounding. Default 1e-4. */
  readonly tolerance?: number;
}

/** A step that both sides of a central difference lie off, a power of two. */
const STEP = 2 ** -12;

/**
 * Registers the checks that every loss must pass, with the test function of any framework: `testLoss(it, 'mine',
 * myLoss)`. They run on the current engine, with a small model and rows of their own that have the annotations and
 * groups that the loss declares.
 *
 * - micro-batches, the order of the groups and padding change neither value, nor gradient, nor metrics;
 * - the gradient is that of the value, by central differences in float64;
 * - value and gradient are finite with logits that are as sure as can be;
 * - scalars are inputs: another number is no other graph;
 * - it reads the annotations and scalars that it declares, and what reads a whole row says so.
 *
 * @param loss one over readouts or over tokens, or what makes it
 */
export function testLoss(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  loss: AnyLoss | (() => AnyLoss | Promise<AnyLoss>),
  options: TestLossOptions = {},
): void {
  const { head = 'vocabulary', labels = 1, annotations = {}, stopsGradients = false } = options;
  const { outputScale = 1000, tolerance = 1e-4 } = options;
  const setUp = async () => {
    const made = asLoss(typeof loss === 'function' ? await loss() : loss);
    const scalars = options.scalars ?? Object.fromEntries((made.scalars ?? []).map((one) => [one, 0.5]));
    const groups = kitRows(made, annotations);
    return { loss: made, scalars, groups, rows: groups.flat(), model: await kitModel(head, labels) };
  };
  const check = (what: string, body: (parts: Awaited<ReturnType<typeof setUp>>) => Promise<void>) =>
    it(`${name} ${what}`, async () => body(await setUp()));

  check('is the same however a step is split over micro-batches', async ({ loss: own, rows, model, scalars }) => {
    const whole = await measured(model, rows, own, scalars, 4096);
    close(await measured(model, rows, own, scalars, 1), whole, tolerance, 'of a group at a time');
    assert.ok(
      Object.values(whole.gradients)
        .flat()
        .some((g) => g !== 0),
      'the gradient is zero everywhere',
    );
  });

  check('is the same in whatever order the groups are', async ({ loss: own, groups, model, scalars }) => {
    const turned = [...groups].reverse();
    // Rows of groups of any size need not follow each other.
    const rows = own.groupSize === 'any' ? interleaved(turned) : turned.flat();
    const expected = await measured(model, groups.flat(), own, scalars, 4096);
    close(await measured(model, rows, own, scalars, 4096), expected, tolerance, 'of groups in another order');
  });

  check('does not see padding', async ({ loss: own, rows, model, scalars }) => {
    const { groupSize = 1 } = own;
    const batch = toBatch(rows, own.annotations, groupSize);
    const more = groupSize === 'any' ? 3 : 3 * groupSize;
    const [plain, padded] = [batch, paddedFurther(batch, more, 6)].map((one) => gradientsOf(own, model, one, scalars));
    close(await padded!, await plain!, tolerance, 'with more padding');
  });

  if (!stopsGradients) {
    check('has the gradient of its value', async ({ loss: own, rows, model, scalars }) => {
      const engine = referenceEngine();
      const weights = await copiesOf(model.weights);
      const direction = directionOf(weights);
      const batch = toBatch(rows, own.annotations, own.groupSize ?? 1);
      const along = (at: Tensor) => {
        const moved = mapNamed(weights, (w, key) => w.add(direction[key]!.mul(at)));
        return lossOf(own, model, moved, batch, scalars).loss;
      };
      const value = compile((at: Tensor) => along(at), { name: 'value', engine });
      const at = async (place: number) => (await value(scalar(place))).item();
      const difference = ((await at(STEP)) - (await at(-STEP))) / (2 * STEP);
      const slope = valueAndGrad((place: Tensor) => along(place))(scalar(0)).gradient as Tensor;
      await realize([slope], { engine });
      const wrong = Math.abs((await slope.item()) - difference);
      const size = Math.max(Math.abs(difference), 1e-3);
      assert.ok(wrong <= tolerance * size, `the gradient is ${await slope.item()}, and the difference ${difference}`);
    });
  }

  check('is finite where the model is as sure as can be', async ({ loss: own, rows, model, scalars }) => {
    const isOutput = (key: string) => /^(lm_head|score|v_head|classifier)\./.test(key);
    const weights = mapNamed(model.weights, (w, key) => (isOutput(key) ? w.mul(outputScale) : w));
    await realize(Object.values(weights), { engine: model.network.engine });
    const { loss: value, metrics, gradients } = await measured(model.withWeights(weights), rows, own, scalars, 4096);
    assert.ok([value, ...Object.values(metrics)].every(Number.isFinite), `it is ${value}: ${JSON.stringify(metrics)}`);
    for (const [key, g] of Object.entries(gradients)) assert.ok(g.every(Number.isFinite), `the gradient of ${key}`);
  });

  check('takes its scalars as inputs', async ({ loss: own, rows, model, scalars }) => {
    let traced = 0;
    const counted: Loss = {
      ...own,
      computeFrom: (read, inputs) => {
        traced++;
        return own.computeFrom(read, inputs);
      },
    };
    const trainer = await Trainer.create(model, { optimizer: sgd() });
    await trainer.evaluate(rows, counted, { scalars });
    const before = traced;
    const others = Object.fromEntries(Object.entries(scalars).map(([key, value]) => [key, value + 0.25]));
    const again = await trainer.evaluate(rows, counted, { scalars: others });
    assert.equal(traced, before, 'another number makes another graph');
    const fresh = await (await Trainer.create(model, { optimizer: sgd() })).evaluate(rows, own, { scalars: others });
    near(again.loss, fresh.loss, tolerance, 'the loss with other scalars');
  });

  check('reads the annotations and scalars that it declares', async ({ loss: own, rows, model, scalars }) => {
    const seen = { annotations: new Set<string>(), scalars: new Set<string>() };
    const batch = toBatch(rows, own.annotations, own.groupSize ?? 1);
    const watched = { ...batch, annotations: watching(batch.annotations, seen.annotations) };
    const readouts = new Set<string>();
    const pass = forwardPass(model.network, model.weights, watched, { hooks: {} });
    const read: Read = (readout) => {
      assert.ok(
        !readout.wholeRow || own.wholeRow,
        `it reads ${readout.name}, one thing of a row, so it must say wholeRow`,
      );
      readouts.add(readout.name);
      return pass.read(readout);
    };
    own.computeFrom(read, lossInputs(watched, watching(scalarsOf(own, scalars), seen.scalars)));
    const named = (list: readonly Annotation[]) => list.map((one) => annotationSpec(one).name).sort();
    assert.deepEqual([...seen.annotations].sort(), named(own.annotations), 'annotations that it reads, and declares');
    assert.deepEqual([...seen.scalars].sort(), [...(own.scalars ?? [])].sort(), 'scalars that it reads, and declares');
    assert.ok(readouts.size > 0, 'it reads nothing of the pass');
  });
}

/** A loss, its metrics and gradients as numbers. */
interface Measured {
  readonly loss: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

const numbersOf = async (gradients: Named) =>
  Object.fromEntries(
    await Promise.all(Object.entries(gradients).map(async ([key, g]) => [key, await g.toArray()] as const)),
  );

/** As a trainer has it, with at most so many tokens in a pass. */
async function measured(
  model: TrainableModel,
  rows: readonly TrainingRow[],
  loss: Loss,
  scalars: Readonly<Record<string, number>>,
  maxTokensPerPass: number,
): Promise<Measured> {
  const trainer = await Trainer.create(model, { optimizer: sgd(), maxTokensPerPass });
  const { loss: value, metrics } = await trainer.forwardBackward(rows, loss, { scalars });
  return { loss: value, metrics, gradients: await numbersOf(await trainer.takeGradients()) };
}

const lossOf = (
  loss: Loss,
  model: TrainableModel,
  weights: Named,
  batch: RowBatch,
  scalars: Readonly<Record<string, number>>,
) =>
  loss.computeFrom(
    forwardPass(model.network, weights, batch, { hooks: {} }).read,
    lossInputs(batch, scalarsOf(loss, scalars)),
  );

/** Of one batch, without a trainer. */
async function gradientsOf(
  loss: Loss,
  model: TrainableModel,
  batch: RowBatch,
  scalars: Readonly<Record<string, number>>,
  engine: Engine = model.network.engine,
): Promise<Measured> {
  const { value, gradient } = valueAndGrad((weights: Named) => {
    const result = lossOf(loss, model, weights, batch, scalars);
    return [result.loss, result.metrics] as const;
  })(model.weights as Named);
  const [total, metrics] = value;
  const gradients = gradient as Named;
  await realize([total, ...Object.values(metrics), ...Object.values(gradients)], { engine });
  const named = await Promise.all(Object.entries(metrics).map(async ([key, x]) => [key, await x.item()] as const));
  return { loss: await total.item(), metrics: Object.fromEntries(named), gradients: await numbersOf(gradients) };
}

function near(actual: number, expected: number, tolerance: number, what: string): void {
  const isNear = Math.abs(actual - expected) <= tolerance * Math.max(1e-2, Math.abs(expected));
  assert.ok(isNear, `${what} is ${actual}, not ${expected}`);
}

function close(actual: Measured, expected: Measured, tolerance: number, how: string): void {
  near(actual.loss, expected.loss, tolerance, `the loss ${how}`);
  for (const [key, value] of Object.entries(expected.metrics)) {
    near(actual.metrics[key]!, value, tolerance, `the metric ${key} ${how}`);
  }
  const largest = Math.max(1e-3, ...Object.values(expected.gradients).flat().map(Math.abs));
  for (const [key, values] of Object.entries(expected.gradients)) {
    const worst = values.reduce((most, g, i) => Math.max(most, Math.abs(g - actual.gradients[key]![i]!)), 0);
    assert.ok(worst <= tolerance * largest, `the gradient of ${key} ${how} differs by ${worst}, of ${largest}`);
  }
}

/** Rows of all groups in turn. */
function interleaved(groups: readonly (readonly TrainingRow[])[]): TrainingRow[] {
  const longest = Math.max(...groups.map((group) => group.length));
  return Array.from({ length: longest }, (_, i) => groups.flatMap((group) => group[i] ?? [])).flat();
}

/** The same, which notes what is read of it. */
const watching = <T extends object>(values: T, seen: Set<string>): T =>
  new Proxy(values, {
    get(target, key, receiver) {
      // What a loss may do without is not there where it does not declare it.
      if (typeof key === 'string' && key in target) seen.add(key);
      return Reflect.get(target, key, receiver);
    },
  });
