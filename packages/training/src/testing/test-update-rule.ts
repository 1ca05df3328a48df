import assert from 'node:assert/strict';
import { leavesOf } from '@posttrain/core-tensor';
import { type Named, parameterGroups, sgd } from '@posttrain/core-tensor/optim';
import type { TrainingRow } from '../loss/rows.js';
import { negativeLogLikelihood, type TokenLoss } from '../loss/token-loss.js';
import { type AnyLoss, asLoss } from '../trainer/lift-token-loss.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import { Trainer } from '../trainer/trainer.js';
import type { TrainerOptions } from '../trainer/trainer-options.js';
import { type UpdateRule, updateByRule } from '../update/update-rule.js';
import { kitModel, kitRows } from './kit-model.js';

/** Options of `testUpdateRule`. */
export interface TestUpdateRuleOptions {
  /** What is minimised. Default: the negative log-likelihood. */
  readonly loss?: AnyLoss;
  /** Default 0.01. */
  readonly learningRate?: number;
  /** Whether steps are in proportion to the learning rate, so that a rate of 0 changes no parameter; false: the rate is not read. Default true. */
  readonly usesLearningRate?: boolean;
  /** Updates before the run is saved, and as many after. Default 2: more than an interval at which something is estimated. */
  readonly updates?: number;
  /** Largest difference, as a part of the largest number of a step, that counts as rounding. Default 1e-3. */
  readonly tolerance?: number;
}

/** A parameter of the kit's model that is frozen. */
const FROZEN = 'model.embed_tokens.weight';

/** No loss of it is a number. */
const broken: TokenLoss = {
  ...negativeLogLikelihood,
  name: 'broken',
  compute: (inputs) => {
    const { loss, ...others } = negativeLogLikelihood.compute(inputs);
    return { ...others, loss: loss.mul(Number.NaN) };
  },
};

/**
 * Registers the checks that every rule for updates must pass, with the test function of any framework: `testUpdateRule(it, () =>
 * sam())`, where the function makes a new one. They run on the current engine with a small model.
 *
 * - an update counts one step, changes parameters and gives finite numbers; what it was made with is plain data;
 * - how rows are split over passes changes rounding only;
 * - a loss that is not a number is refused, and nothing has been changed then;
 * - frozen parameters stay, and with a learning rate of 0 all do;
 * - it keeps nothing but its state: saved and resumed by a rule made anew, it is the same run to the bit.
 */
export function testUpdateRule(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => UpdateRule,
  options: TestUpdateRuleOptions = {},
): void {
  const { loss = negativeLogLikelihood, learningRate = 0.01, usesLearningRate = true, updates = 2 } = options;
  const { tolerance = 1e-3 } = options;
  const { name } = make();
  const check = (what: string, body: () => Promise<void>) => it(`the update rule ${name} ${what}`, body);
  const rows = (): TrainingRow[] => kitRows(asLoss(loss), {}).flat();
  const start = async (settings: Partial<TrainerOptions> = {}) =>
    Trainer.create(await kitModel('vocabulary', 1), { optimizer: sgd(), maxGradNorm: 0, ...settings });
  const step = (trainer: Trainer<TrainableModel>, rule: UpdateRule, rate = learningRate, of: AnyLoss = loss) =>
    updateByRule(trainer, rule, rows(), of, { learningRate: rate });

  check('makes one update of finite numbers, and says what it was made with as plain data', async () => {
    const rule = make();
    assert.deepEqual(JSON.parse(JSON.stringify(rule.settings)), rule.settings, 'settings are JSON');
    const trainer = await start();
    const before = await numbersOf(trainer.parameters);
    const result = await step(trainer, rule);
    for (const [key, value] of Object.entries(result.metrics)) assert.ok(Number.isFinite(value), `${key} is ${value}`);
    const after = await numbersOf(trainer.parameters);
    assert.ok(after.flat().every(Number.isFinite), 'a parameter is no finite number');
    assert.ok(furthest(after, before) > 0, 'no parameter has changed');
  });

  check('is the same however rows are split over passes', async () => {
    const stepOf = async (maxTokensPerPass: number) => {
      const trainer = await start({ maxTokensPerPass });
      const before = await numbersOf(trainer.parameters);
      await step(trainer, make());
      const after = await numbersOf(trainer.parameters);
      return after.map((own, i) => own.map((x, j) => x - before[i]![j]!));
    };
    const [whole, split] = [await stepOf(4096), await stepOf(24)];
    const size = Math.max(...whole.flat().map(Math.abs));
    const apart = furthest(whole, split);
    assert.ok(apart <= tolerance * size, `the step is ${apart} apart where rows go in several passes`);
  });

  check('refuses a loss that is not a number, and has changed nothing then', async () => {
    const [trainer, rule] = [await start(), make()];
    await step(trainer, rule);
    const before = await everything(trainer);
    await assert.rejects(step(trainer, rule, learningRate, broken), 'the loss is NaN, and nothing was thrown');
    assert.equal(trainer.step, 1, 'a step was counted');
    assert.deepEqual(await everything(trainer), before, 'something has changed');
    await step(trainer, rule);
  });

  check('leaves frozen parameters as they are', async () => {
    const optimizer = parameterGroups([{ match: (path) => path === FROZEN, frozen: true }, { optimizer: sgd() }]);
    const trainer = await start({ optimizer });
    const before = await trainer.parameters[FROZEN]!.toArray();
    await step(trainer, make());
    assert.deepEqual(await trainer.parameters[FROZEN]!.toArray(), before, `${FROZEN} has changed`);
  });

  check(
    usesLearningRate ? 'stays where it is with a learning rate of 0' : 'does not read the learning rate',
    async () => {
      const trainer = await start();
      const before = await numbersOf(trainer.parameters);
      await step(trainer, make(), 0);
      if (usesLearningRate) {
        assert.deepEqual(await numbersOf(trainer.parameters), before, 'with a learning rate of 0');
        return;
      }
      const other = await start();
      await step(other, make(), learningRate);
      assert.deepEqual(
        await numbersOf(other.parameters),
        await numbersOf(trainer.parameters),
        'with another learning rate',
      );
    },
  );

  check('keeps nothing but its state: saved and resumed it is the same run', async () => {
    const [straight, rule] = [await start(), make()];
    for (let i = 0; i < 2 * updates; i++) await step(straight, rule);
    // The rule that has made updates already, on a trainer that is new, and then one made anew.
    const saved = await start();
    for (let i = 0; i < updates; i++) await step(saved, rule);
    const resumed = await start();
    resumed.restore(saved.snapshot());
    const anew = make();
    for (let i = 0; i < updates; i++) await step(resumed, anew);
    assert.deepEqual(await everything(resumed), await everything(straight), 'after it was saved and resumed');
  });
}

const numbersOf = async (named: Named): Promise<number[][]> =>
  Promise.all(Object.values(named).map((x) => x.toArray()));

/** All that a checkpoint would have. */
async function everything(trainer: Trainer<TrainableModel>): Promise<Record<string, number[]>> {
  const tensors = leavesOf(trainer.snapshot().tensors);
  return Object.fromEntries(
    await Promise.all(tensors.map(async ({ path, tensor }) => [path, await tensor.toArray()] as const)),
  );
}

const furthest = (a: readonly number[][], b: readonly number[][]): number =>
  a.reduce((most, own, i) => own.reduce((m, x, j) => Math.max(m, Math.abs(x - b[i]![j]!)), most), 0);
