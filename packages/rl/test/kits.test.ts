import { tmpdir } from 'node:os';
import { sgd } from '@posttrain/core-tensor/optim';
import type { Generator, SamplerServer, Verifier } from '@posttrain/interfaces';
import { LocalGenerator, SequenceClassifier, ValueModel } from '@posttrain/lm';
import { Trainer } from '@posttrain/training';
import { testRowSource, testUpdateRule } from '@posttrain/training/testing';
import { describe, expect, it } from 'vitest';
import { failuresOf } from '../../../testing/failures-of.js';
import {
  type Advantage,
  type Annotator,
  adaptiveKl,
  batchMean,
  calculator as calculatorTask,
  cispo,
  classifierDiscriminator,
  clip,
  clipCov,
  constantLength,
  contrastiveSteps,
  criticValues,
  difficultyCurriculum,
  dppo,
  type Environment,
  entropyBonus,
  externalSampler,
  fleetRollouts,
  gae,
  gdpo,
  gfpo,
  gmpo,
  greedyBaseline,
  groupNormalized,
  gspoTokenRatio,
  importanceWeighted,
  klInLoss,
  klInReward,
  lagrangian,
  leaveOneOut,
  localTokenMean,
  logPartition,
  maxRl,
  mixer,
  mixerRollouts,
  movingAverageBaseline,
  multiTurn,
  naturalPolicyGradient,
  noBaseline,
  noRatio,
  nStepAdvantage,
  nStepValues,
  offPolicyMask,
  type PromptRow,
  partialRollouts,
  policyEntropies,
  policyGradient,
  prime,
  prioritizedReplay,
  processGrpo,
  type Rollout,
  type RolloutSource,
  type RowSource,
  refitRewardModel,
  reinforcePlusPlus,
  reMax,
  restartBuffer,
  rewardHackMonitors,
  sapo,
  seqGan,
  seqGanValues,
  sequenceMean,
  sequenceRatio,
  sequenceSum,
  sequenceSumRatio,
  singleTurn,
  squaredLogRatio,
  stepRewards,
  textGame,
  tokenMean,
  tokenRatio,
  topEntropy,
  treeRollouts,
  truncatedImportance,
  unclipped,
  userSimulator,
  valueModelCritic,
  vespo,
  vinePpo,
  vineValues,
} from '../src/index.js';
import {
  type PolicyParts,
  type TestAdvantageOptions,
  testAdvantage,
  testAnnotator,
  testEnvironment,
  testPolicyPart,
  testRolloutSource,
  tinyPolicy,
} from '../src/testing/index.js';
import { calculator, chatModel, sums } from './calculator.js';
import { localServer } from './local-server.js';
import { tableCritic } from './stateful-run.js';

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
  [() => contrastiveSteps({ stepTokens: [2] }), { shiftInvariant: 'group' }],
  [
    () => importanceWeighted(leaveOneOut()),
    { shiftInvariant: 'group', extras: (_, i) => ({ 'prioritized-replay.weight': 1 / (2 + i) }) },
  ],
  [() => gdpo(), { shiftInvariant: 'group' }],
  [() => lagrangian(leaveOneOut(), { limits: { second: 0.1 } }), { shiftInvariant: 'group' }],
  [() => gfpo({ keep: 2 }), { shiftInvariant: 'group', scaleInvariant: true, tolerance: 5e-3 }],
  [() => gfpo({ keep: 2, metric: 'token-efficiency' }), { scaleInvariant: true, tolerance: 5e-3 }],
  [() => maxRl(), { scaleInvariant: true }],
  [() => logPartition({ tau: 0.5 }), { shiftInvariant: 'group' }],
  [() => processGrpo({ stepTokens: [2] }), { scaleInvariant: true, tolerance: 5e-3 }],
  [() => prime(), { shiftInvariant: 'group', scaleInvariant: true }],
  [
    () => topEntropy(leaveOneOut(), { topEntropyQuantile: 0.4 }),
    {
      shiftInvariant: 'group',
      extras: ({ completionTokens }, i) => ({
        'rl.token_entropies': completionTokens.map((_, t) => Math.sin(i + t) + 1),
      }),
    },
  ],
  [() => clipCov(leaveOneOut(), { clipCovRatio: 1, clipCovLow: 0 }), { shiftInvariant: 'group' }],
  [() => gae(), { scaleInvariant: true }],
  [() => gae({ lengthAlpha: 0.5 }), { scaleInvariant: true }],
  [() => gae({ whiten: false, turnRewards: true, gamma: 0.9 })],
  [() => gae({ whitenRewards: true, endState: true, lambda: 0.5 })],
  [() => nStepAdvantage({ nSteps: 2, gamma: 0.9 })],
  [
    () => seqGan({ baseline: 'position-mean' }),
    {
      readsRewards: false,
      extras: ({ completionTokens }, i) => ({ 'seqgan.q': completionTokens.map((_, t) => Math.cos(i + t)) }),
    },
  ],
  [
    () => mixer(),
    {
      shiftInvariant: 'step',
      extras: ({ completionTokens }) => ({
        'mixer.xent': completionTokens.map(() => 0),
        'mixer.reinforce': completionTokens.map(() => 1),
      }),
    },
  ],
];

describe('our own parts pass the kits', () => {
  testUpdateRule(it, () => naturalPolicyGradient({ cgIterations: 3 }));

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
  // Long enough that whole completions come at once.
  testRolloutSource(it, () => partialRollouts({ segmentTokens: 8 }));
  testRolloutSource(it, () => {
    const local = tinyPolicy().then((model) => localServer(model).server);
    const server: SamplerServer = {
      name: 'here',
      probe: async (...given) => (await local).probe(...given),
      isHealthy: async () => true,
      sample: async (...given) => (await local).sample(...given),
      score: async (...given) => (await local).score(...given),
      loadAdapter: async (...given) => (await local).loadAdapter(...given),
      unloadAdapter: async (...given) => (await local).unloadAdapter(...given),
    };
    return fleetRollouts({ servers: [server], folder: tmpdir() });
  });
  testRolloutSource(it, () => prioritizedReplay());
  testRolloutSource(it, () => prioritizedReplay({ source: multiTurn(calculator, { maxTurns: 3 }) }), chat);
  testRolloutSource(it, () => multiTurn(calculator, { maxTurns: 3 }), chat);

  testRolloutSource(it, () => mixerRollouts({ xentSteps: 0, everySteps: 1 }), {
    rows: ['ab', 'cad', 'f'].map((prompt) => ({ prompt, completion: 'gfed' })),
  });

  testAnnotator(it, () => greedyBaseline());
  testAnnotator(it, () => movingAverageBaseline());
  testAnnotator(it, () => nStepValues(tableCritic(), { nSteps: 2 }));
  testAnnotator(it, async () => {
    const real = [{ promptTokens: [0], completionTokens: [1, 2] }];
    const model = await SequenceClassifier.fromCausalLM(await tinyPolicy());
    const discriminator = await classifierDiscriminator(model, { learningRate: 0.01, iterationsPerBatch: 1 });
    return seqGanValues({ discriminator, real, rollouts: 2 });
  });
  testAnnotator(it, () => policyEntropies());
  testAnnotator(it, () => vineValues({ stepTokens: [0, 1], mcRollouts: 2 }));
  testAnnotator(it, () => treeRollouts({ stepTokens: [0, 1], expansions: 3, width: 2 }));
  testAnnotator(it, () => rewardHackMonitors({ window: 2 }));
  testAnnotator(it, () => criticValues(tableCritic()));
  testAnnotator(it, async () =>
    criticValues(await valueModelCritic(await ValueModel.fromCausalLM(await tinyPolicy()), { learningRate: 0.01 })),
  );

  // Each letter is a step, and counts its place in the alphabet.
  const letters: Verifier = {
    name: 'letters',
    verify: async (requests) =>
      requests.map(({ completion }) => {
        const steps = completion.split('b').filter((step) => step.trim() !== '');
        return { score: steps.length, stepScores: steps.map((step) => step.length) };
      }),
  };
  testAnnotator(it, () => stepRewards({ verifier: letters, weight: 0.5, stepDelimiter: 'b' }));
  testAnnotator(it, async () =>
    refitRewardModel({
      trainer: await Trainer.create(await SequenceClassifier.fromCausalLM(await tinyPolicy()), { optimizer: sgd() }),
      judge: {
        name: 'longer',
        compare: async (asked) =>
          asked.map(({ first, second }) => ({ winner: first.length > second.length ? 'first' : 'second' })),
      },
      learningRate: 0.1,
    }),
  );

  for (const ratio of [noRatio, tokenRatio, sequenceRatio, sequenceSumRatio, gspoTokenRatio])
    testPolicyPart(it, 'ratio', ratio);
  testPolicyPart(it, 'ratio', () => truncatedImportance(tokenRatio()));
  testPolicyPart(it, 'ratio', () =>
    truncatedImportance(sequenceRatio(), { level: 'sequence', mode: 'mask', cap: 1.5 }),
  );
  for (const surrogate of [policyGradient, unclipped, clip]) testPolicyPart(it, 'surrogate', () => surrogate());
  for (const surrogate of [cispo, sapo, vespo, gmpo, dppo]) testPolicyPart(it, 'surrogate', () => surrogate());
  testPolicyPart(it, 'surrogate', () => dppo({ divergence: 'kl', low: 0.01, high: 0.01 }));
  testPolicyPart(it, 'surrogate', () => offPolicyMask(clip(), { threshold: 0.1 }));
  testPolicyPart(it, 'surrogate', () => clip({ epsilon: 0.1, epsilonHigh: 0.3, delta: 1.5 }));
  for (const aggregation of [sequenceMean, sequenceSum, tokenMean, constantLength, localTokenMean]) {
    testPolicyPart(it, 'aggregation', () => aggregation());
  }
  testPolicyPart(it, 'aggregation', () => localTokenMean({ localBatchSize: 2 }), { anyOrder: false });
  testPolicyPart(it, 'regulariser', () => entropyBonus({ entropyCoef: 0.1 }));
  testPolicyPart(it, 'regulariser', () => klInLoss({ beta: 0.3, biasCorrection: true }));
  testPolicyPart(it, 'regulariser', () => adaptiveKl());
  for (const level of ['token', 'sequence'] as const) {
    testPolicyPart(it, 'regulariser', () => squaredLogRatio({ tau: 0.3, level }));
  }
  for (const estimator of ['k1', 'k2', 'k3'] as const) {
    testPolicyPart(it, 'regulariser', () => klInLoss({ beta: 0.3, estimator }));
    if (estimator !== 'k2') testPolicyPart(it, 'regulariser', () => klInReward({ beta: 0.3, estimator }));
  }

  const told = (source: RowSource<PromptRow>, given: readonly { readonly row: unknown }[], step: number) =>
    source.feedback!(
      given.map(({ row }, group): Rollout => {
        const completionTokens = [1, 0, 2 + ((step + group) % 3), 4];
        const of = { row: row as PromptRow, promptTokens: [1], completionTokens, oldLogProbs: [0, 0, 0, 0] };
        return { ...of, group, reward: (step + group) % 2 };
      }),
      { step, advantages: given.map(() => 0) },
    );
  const asked = ['a', 'b', 'cc', 'dd'].map((prompt) => ({ prompt }));
  testRowSource(it, () => difficultyCurriculum<PromptRow>(asked), { between: told });
  testRowSource(it, () => restartBuffer<PromptRow>(asked, { stepTokens: [0], probability: 0.5 }), { between: told });

  testEnvironment(it, () => calculator, { rows: sums, replies: ['=1', '0', '2'] });
  testEnvironment(it, () => calculatorTask(), {
    rows: calculatorTask().rows(2, 1),
    replies: [calculatorTask().oracle(calculatorTask().rows(1, 1)[0]!, [{ role: 'user', content: '' }]), '1'],
  });
  testEnvironment(it, () => textGame(), { rows: textGame().rows(2, 1), replies: ['go east', 'go south', 'take key'] });
  testEnvironment(it, () => userSimulator({ script: ([, { content } = { content: '' }]) => `${content}?` }), {
    rows: asked,
  });
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

  const parts: PolicyParts = {
    ratio: tokenRatio(),
    surrogate: clip(),
    aggregation: tokenMean(),
    regulariser: klInLoss({ beta: 1 }),
  };
  const noise = () => calls++;
  const faulty = <Kind extends keyof PolicyParts>(kind: Kind, part: Partial<PolicyParts[Kind]>) =>
    failuresOf((register) => testPolicyPart(register, kind, () => ({ ...parts[kind], ...part })));
  it.each<[string, () => Promise<string[]>, RegExp]>([
    [
      'nothing wrong',
      async () =>
        (await Promise.all((Object.keys(parts) as (keyof PolicyParts)[]).map((kind) => faulty(kind, {})))).flat(),
      /^$/,
    ],
    [
      'a ratio that is off on policy',
      () => faulty('ratio', { compute: (x) => x.exp().mul(1.1) }),
      /on policy: number 0 is 1\.1/,
    ],
    ['a ratio of another level', () => faulty('ratio', { level: 'sequence' }), /tokens whose ratio changes/],
    ['a correction that is learnt from', () => faulty('ratio', { correct: (x) => x.exp() }), /it has a gradient/],
    [
      'a surrogate with the other sign',
      () => faulty('surrogate', { compute: ({ ratio, advantages }) => ({ loss: ratio.mul(advantages) }) }),
      /the gradient by log π/,
    ],
    [
      'a surrogate of the mean',
      () =>
        faulty('surrogate', {
          compute: ({ ratio, advantages }) => ({ loss: ratio.mul(advantages).neg().sub(ratio.mean()) }),
        }),
      /of other tokens/,
    ],
    [
      'clipping that is not',
      () =>
        faulty('surrogate', {
          compute: ({ ratio, advantages }) => ({
            loss: ratio.mul(advantages).neg(),
            clipped: { low: ratio.less(1), high: ratio.greater(1) },
          }),
        }),
      /is clipped \(low\), and has a gradient/,
    ],
    ['weights that are NaN', () => faulty('aggregation', { weights: (lengths) => lengths.map((n) => n / n) }), /NaN/],
    [
      'weights of a sum',
      () => faulty('aggregation', { weights: (lengths) => lengths.map(() => 1) }),
      /twice the completions|add up to/,
    ],
    [
      'weights by place',
      () => faulty('aggregation', { weights: (lengths) => lengths.map((_, i) => (i + 1) / lengths.length ** 2 / 4) }),
      /in another order/,
    ],
    [
      'a penalty of the longest',
      () => faulty('regulariser', { rewardPenalty: (old) => old.length ** 2 }),
      /of all tokens/,
    ],
    [
      'a mean of rows',
      () => faulty('regulariser', { compute: ({ logProbs }) => ({ loss: logProbs.mean(), metrics: {} }) }),
      /of two halves/,
    ],
    ['what asks for nothing', () => faulty('regulariser', { compute: () => ({ metrics: {} }) }), /neither/],
    [
      'settings that are drawn',
      () =>
        failuresOf((register) =>
          testPolicyPart(register, 'ratio', () => ({ ...tokenRatio(), settings: { n: noise() } })),
        ),
      /two of the same settings/,
    ],
  ])('%s in a part of an objective', async (_, failing, message) => {
    expect((await failing()).join('\n')).toMatch(message);
  });

  const baseline: Annotator = {
    name: 'b',
    gives: ['baseline'],
    annotate: async (rollouts) => rollouts.map((one) => ({ ...one, baseline: 0.5 })),
  };
  it.each<[string, RegExp, Partial<Annotator>, RegExp]>([
    ['nothing wrong', /^/, {}, /^$/],
    [
      'a rollout that is left out',
      /gives what/,
      { annotate: async (rollouts, context) => baseline.annotate(rollouts.slice(1), context) },
      /of 6 rollouts it gives 5/,
    ],
    ['what it says and does not give', /gives what/, { gives: ['values'] }, /rollout 0 has no values/],
    [
      'values of too few tokens',
      /gives what/,
      { gives: ['values'], annotate: async (all) => all.map((one) => ({ ...one, values: [] })) },
      /has 0 values of/,
    ],
    [
      'a reward that it changes',
      /gives what/,
      { annotate: async (all) => all.map((one) => ({ ...one, baseline: 0, reward: 9 })) },
      /reward is another/,
    ],
    [
      'what it draws by itself',
      /function/,
      { annotate: async (all) => all.map((one) => ({ ...one, baseline: calls++ })) },
      /two of the same settings/,
    ],
  ])('%s in an annotator', async (_, only, part, message) => {
    const failures = await failuresOf((register) => testAnnotator(register, () => ({ ...baseline, ...part })), only);
    expect(failures.join('\n')).toMatch(message);
  });
  it('what an annotator learns and does not save', async () => {
    const learning = (): Annotator => {
      let known = 0;
      return {
        ...baseline,
        annotate: async (all) => all.map((one) => ({ ...one, baseline: known })),
        learn: async () => ({ known: ++known }),
      };
    };
    const failures = await failuresOf((register) => testAnnotator(register, learning), /keeps what it learns/);
    expect(failures.join('\n')).toMatch(/from what was saved/);
  });

  const changed = (change: (rollouts: Awaited<ReturnType<RolloutSource['sample']>>) => unknown): RolloutSource => {
    const source = singleTurn();
    return { ...source, sample: async (request) => change(await source.sample(request)) as never };
  };
  it.each<[string, RolloutSource | (() => RolloutSource), RegExp]>([
    ['groups from 0', changed((r) => r.map((x) => ({ ...x, group: x.group - 3 }))), /numbered from firstGroup/],
    ['rows that are copies', changed((r) => r.map((x) => ({ ...x, row: { ...x.row } }))), /have that row itself/],
    [
      'log-probabilities of another temperature',
      changed((r) => r.map((x) => ({ ...x, samplerLogProbs: Array.from(x.samplerLogProbs, (p) => p / 2) }))),
      /log p is/,
    ],
    ['a mask that is too short', changed((r) => r.map((x) => ({ ...x, mask: [] }))), /entry of the mask/],
    [
      'a memory that no checkpoint has',
      { ...singleTurn(), feedback: () => {} },
      /what listens to feedback has a state/,
    ],
    [
      'a state that is not all of it',
      () => {
        let told = 0;
        const source = singleTurn();
        return {
          ...source,
          sample: async (r) => (await source.sample(r)).map((x) => ({ ...x, text: `${x.text}${told}` })),
          feedback: () => void told++,
          ...{ state: () => 0, load: () => {} },
        };
      },
      /from a saved state/,
    ],
    ['hidden state', changed((r) => r.map((x) => ({ ...x, text: `${x.text}${calls++}` }))), /the same request/],
  ])('%s in a source of rollouts', async (_, source, message) => {
    const failures = await failuresOf((register) =>
      testRolloutSource(register, typeof source === 'function' ? source : () => source),
    );
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
