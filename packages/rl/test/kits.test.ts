import type { Generator } from '@posttrain/interfaces';
import { LocalGenerator } from '@posttrain/lm';
import { describe, expect, it } from 'vitest';
import { failuresOf } from '../../../testing/failures-of.js';
import {
  type Advantage,
  batchMean,
  type Environment,
  externalSampler,
  gae,
  groupNormalized,
  leaveOneOut,
  multiTurn,
  noBaseline,
  type RolloutSource,
  reinforcePlusPlus,
  reMax,
  singleTurn,
  vinePpo,
} from '../src/index.js';
import { type TestAdvantageOptions, testAdvantage, testEnvironment, testRolloutSource } from '../src/testing/index.js';
import { calculator, chatModel, sums } from './calculator.js';

const advantages: readonly (readonly [() => Advantage, TestAdvantageOptions?])[] = [
  [() => groupNormalized(), { shiftInvariant: 'group', scaleInvariant: true, tolerance: 5e-3 }],
  [() => groupNormalized({ scaleRewards: 'batch' }), { shiftInvariant: 'step', scaleInvariant: true }],
  [() => groupNormalized({ scaleRewards: 'none' }), { shiftInvariant: 'group' }],
  [() => leaveOneOut(), { shiftInvariant: 'group' }],
  [() => leaveOneOut({ normalizeAdvantages: true }), { shiftInvariant: 'group', scaleInvariant: true }],
  [() => batchMean(), { shiftInvariant: 'step' }],
  [() => noBaseline()],
  [() => reMax()],
  [() => reinforcePlusPlus(), { shiftInvariant: 'step', scaleInvariant: true }],
  [() => reinforcePlusPlus({ baseline: 'group' }), { shiftInvariant: 'group', scaleInvariant: true }],
  [() => reinforcePlusPlus({ gamma: 0.9 }), { scaleInvariant: true }],
  [() => vinePpo({ stepTokens: [2] })],
  [() => gae(), { scaleInvariant: true }],
  [() => gae({ whiten: false, turnRewards: true, gamma: 0.9 })],
  [() => gae({ whitenRewards: true, endState: true, lambda: 0.5 })],
];

describe('our own parts pass the kits', () => {
  for (const [make, options] of advantages) testAdvantage(it, make, options);

  const chat = { model: () => chatModel(1), rows: sums, maxTokens: 16 };
  testRolloutSource(it, () => singleTurn());
  testRolloutSource(it, () => {
    let local: LocalGenerator;
    const generator: Generator = { name: 'elsewhere', generate: (requests) => local.generate(requests) };
    return externalSampler({
      generator,
      sync({ model }) {
        local = new LocalGenerator(model);
      },
    });
  });
  testRolloutSource(it, () => multiTurn(calculator, { maxTurns: 3 }), chat);

  testEnvironment(it, () => calculator, { rows: sums, replies: ['=1', '0', '2'] });
});

describe('the kits find', () => {
  const mean: Advantage['compute'] = (rollouts) => rollouts.map(({ reward }) => reward ?? 0);
  let calls = 0;

  it.each<[string, Advantage, TestAdvantageOptions, RegExp]>([
    [
      'a number too few',
      { name: 'x', compute: (rollouts) => mean(rollouts).slice(1) },
      {},
      /one entry for each rollout/,
    ],
    ['what depends on places', { name: 'x', compute: (r) => r.map((_, i) => i) }, {}, /in another order/],
    [
      'what is not scorable in a mean',
      { name: 'x', compute: (r) => r.map(({ reward }) => (reward ?? 0) - mean(r).length) },
      {},
      /not scorable/,
    ],
    ['more invariance than is said', leaveOneOut(), {}, /more invariant than is said/],
    ['less invariance than is said', noBaseline(), { shiftInvariant: 'step' }, /shifted \(step\)/],
    ['NaN', { name: 'x', compute: (r) => r.map(() => Number.NaN) }, {}, /rollout 0: NaN/],
    ['memory without a state', { name: 'x', compute: (r) => r.map(() => calls++) }, {}, /two of the same settings/],
  ])('%s in an advantage', async (_, advantage, options, message) => {
    const failures = await failuresOf((register) => testAdvantage(register, () => advantage, options));
    expect(failures.join('\n')).toMatch(message);
  });

  const changed = (change: (rollouts: Awaited<ReturnType<RolloutSource['sample']>>) => unknown): RolloutSource => {
    const source = singleTurn();
    return { ...source, sample: async (request) => change(await source.sample(request)) as never };
  };
  it.each<[string, RolloutSource, RegExp]>([
    ['groups from 0', changed((r) => r.map((x) => ({ ...x, group: x.group - 3 }))), /numbered from firstGroup/],
    ['rows that are copies', changed((r) => r.map((x) => ({ ...x, row: { ...x.row } }))), /have that row itself/],
    [
      'log-probabilities of another temperature',
      changed((r) => r.map((x) => ({ ...x, samplerLogProbs: Array.from(x.samplerLogProbs, (p) => p / 2) }))),
      /log p is/,
    ],
    ['a mask that is too short', changed((r) => r.map((x) => ({ ...x, mask: [] }))), /entry of the mask/],
    ['hidden state', changed((r) => r.map((x) => ({ ...x, text: `${x.text}${calls++}` }))), /the same request/],
  ])('%s in a source of rollouts', async (_, source, message) => {
    const failures = await failuresOf((register) => testRolloutSource(register, () => source));
    expect(failures.join('\n')).toMatch(message);
  });

  const talking = (step: (said: number) => object): Environment => {
    let said = 0;
    return {
      ...{ name: 'talking', settings: {} },
      start: () => ({ messages: [{ role: 'user', content: '1' }], step: () => step(said++) as never }),
    };
  };
  it.each<[string, () => Environment, RegExp]>([
    ['silence', () => talking(() => ({ messages: [], done: false })), /says something/],
    ['a reward that is no number', () => talking(() => ({ messages: [], done: true, reward: Number.NaN })), /NaN/],
    [
      'what one episode leaves to the next',
      () => talking((said) => ({ messages: [{ role: 'tool', content: `${said}` }], done: said % 3 === 2 })),
      /the same again|deep-equal/,
    ],
  ])('%s in an environment', async (_, make, message) => {
    const failures = await failuresOf((register) => testEnvironment(register, make, { rows: sums }));
    expect(failures.join('\n')).toMatch(message);
  });
});
