import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, tensor } from '@posttrain/core-tensor';
import { type Named, sgd } from '@posttrain/core-tensor/optim';
import type { SamplerServer, TokenSample, TokenSampleRequest } from '@posttrain/interfaces';
import {
  type CausalLM,
  LocalGenerator,
  NO_ADAPTER,
  SequenceClassifier,
  sequenceLogProbs,
  ValueModel,
} from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter, withAdapterParameters } from '@posttrain/peft';
import {
  type Metrics,
  negativeLogLikelihood,
  RowOrder,
  sequenceLogProb,
  type TensorSnapshot,
  Trainer,
  type TrainingRow,
  update,
} from '@posttrain/training';
import { savedState } from '@posttrain/training/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { vllmServer } from '../../openai/src/index.js';
import { createServer, localModels, type ModelServer } from '../../serve/src/index.js';
import {
  type Annotator,
  type AnnotatorContext,
  annealedRollouts,
  type CriticExample,
  classifierDiscriminator,
  criticExamples,
  criticValues,
  type Discriminator,
  difficultyCurriculum,
  externalSampler,
  type FleetEvent,
  type FleetRolloutsOptions,
  fleetRollouts,
  gae,
  groupNormalized,
  groupsOf,
  implicitRewardModel,
  importanceWeighted,
  type LossObjective,
  loggedRollouts,
  minimumRisk,
  minimumRiskRows,
  mixerRollouts,
  movingAverageBaseline,
  namedReward,
  noBaseline,
  noRatio,
  nStepValues,
  type PolicyObjectiveParts,
  type PolicyTrainingOptions,
  type PromptRow,
  partialRollouts,
  policyObjective,
  policyObjectives,
  policyVersion,
  pretrainCritic,
  prioritizedReplay,
  type Rollout,
  type RolloutRequest,
  type RolloutSource,
  type RowSource,
  restartBuffer,
  rewardHackMonitors,
  rollOut,
  type SampledRollout,
  type ScoredRollout,
  samplingMaskReplay,
  seqGan,
  seqGanValues,
  sharedValueHead,
  singleTurn,
  tokenRatio,
  trainPolicy,
  treeRollouts,
  trpo,
  truncatedImportance,
  type VersionSpan,
  valueLoss,
  valueModelCritic,
  valueRows,
  versionSpans,
  vineValues,
} from '../src/index.js';
import { localServer, noAnswer } from './local-server.js';
import { curriculumRun, replayRun, selfDistillationRun, statefulRun, tableCritic } from './stateful-run.js';
import { endlessTokenizer, fractionOfC, prompts, toyModel } from './toy.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posttrain-parts-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const numbersOf = ({ parameters }: Pick<Trainer, 'parameters'>): Promise<number[][]> =>
  Promise.all(Object.values(parameters).map((x) => x.toArray()));

type Options = PolicyTrainingOptions<PromptRow>;
const run = async (options: Partial<Options> = {}) =>
  trainPolicy<PromptRow>({
    ...{ model: await toyModel(1), rows: prompts, objective: policyObjectives.grpo() },
    rewards: { fraction_of_c: (text: string) => fractionOfC(text) },
    ...{ steps: 2, promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 5, learningRate: 0.03, seed: 1 },
    ...options,
  } as Options);

it('a killed run of PPO with a value model, a table and a restart buffer, resumed, ends with the same weights, table and buffer', async () => {
  const straight = await statefulRun(join(folder, 'straight'));
  expect(straight.restarts).toBeGreaterThan(2);
  const killAt = 2 + Math.floor(Math.random() * 3);
  const script = join(import.meta.dirname, 'stateful-run.ts');
  const arguments_ = ['--import', 'tsx', script, join(folder, 'killed'), String(killAt)];
  const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  expect((await statefulRun(join(folder, 'killed'))).all, `killed at step ${killAt}`).toBe(straight.all);
});

it('a killed run of SDPO, resumed, ends with the same weights: the average that teaches goes on too', async () => {
  const straight = await selfDistillationRun(join(folder, 'sdpo'));
  expect(Math.max(...straight.history.slice(2).map(({ metrics }) => metrics.grad_norm ?? 0))).toBeGreaterThan(0);
  const script = join(import.meta.dirname, 'stateful-run.ts');
  const killed = join(folder, 'sdpo-killed');
  const child = spawn(process.execPath, ['--import', 'tsx', script, killed, '3', 'self-distillation'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  expect((await selfDistillationRun(killed)).all).toBe(straight.all);
});

describe('training', () => {
  const budget = { steps: 14, promptsPerStep: 4, completionsPerPrompt: 8, schedule: 'constant' } as const;

  it.each([1, 2])('ReMax learns with one completion a prompt (seed %i)', async (seed) => {
    const { history } = await run({
      ...budget,
      ...{ seed, objective: policyObjectives.remax(), promptsPerStep: 32, completionsPerPrompt: 1 },
    });
    expect(history.at(-1)!.metrics.reward).toBeGreaterThan(history[0]!.metrics.reward! + 0.4);
  });

  it('PPO learns with a critic, whose error falls', async () => {
    const critic = tableCritic();
    const objective = { ...policyObjectives.dapo(), name: 'ppo', advantage: gae(), annotators: [criticValues(critic)] };
    const { history } = await run({ ...budget, objective });
    const reward = history.at(-1)!.metrics.reward!;
    expect(reward).toBeGreaterThan(history[0]!.metrics.reward! + 0.4);
    // Of the state before the first token, behind a prompt of three.
    expect(Math.abs(critic.table[2]! - reward)).toBeLessThan(0.25);
  });

  type Learner = (model: CausalLM, seed: number) => Promise<Partial<Options>>;
  /** Of three seeds: what is gained more than from a reward of chance, which says nothing of how many c there are. */
  const trainedOverControl = async (learner: Learner) => {
    const arm = async (seed: number, isControl: boolean) => {
      const model = await toyModel(1);
      let chance = seed;
      const random = () => {
        chance = (chance * 16807) % 2147483647;
        return (chance % 1000) / 1000;
      };
      const rewards = {
        fraction_of_c: { verifier: (text: string) => fractionOfC(text), weight: isControl ? 0 : 1 },
        random: { verifier: random, weight: isControl ? 1 : 0 },
      };
      const { history } = await run({ ...budget, model, seed, rewards, ...(await learner(model, seed)) });
      const of = (name: string) => history.map(({ metrics }) => metrics[name]!);
      const fractions = of('rewards/fraction_of_c/mean');
      return { gained: fractions.at(-1)! - fractions[0]!, of };
    };
    const arms = [];
    for (const seed of [1, 2, 3]) arms.push({ trained: await arm(seed, false), control: await arm(seed, true) });
    // Student's t with two degrees of freedom, 95 %.
    const gains = arms.map(({ trained, control }) => trained.gained - control.gained);
    const mean = gains.reduce((a, b) => a + b) / 3;
    const error = Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    expect(mean - 4.303 * error, String(gains)).toBeGreaterThan(0.15);
    return arms.map(({ trained }) => trained);
  };

  it('PPO learns with a value model that learns beside it, and from a reward of chance nothing', async () => {
    const arms = await trainedOverControl(async (model, seed) => {
      const value = await ValueModel.fromCausalLM(model, { seed });
      const critic = await valueModelCritic(value, { learningRate: 0.01, vfCoef: 1, cliprangeValue: 10 });
      return { objective: policyObjectives.ppo({ critic, beta: 0.01 }), iterationsPerBatch: 2 };
    });
    for (const { of } of arms) {
      const valueLosses = of('loss/value_avg');
      const [early, late] = [valueLosses[0]!, valueLosses.slice(-4).reduce((a, b) => a + b) / 4];
      expect(late, String(valueLosses)).toBeLessThan(early / 2);
    }
  });

  it.each<[string, Partial<Options>]>([
    [
      'minimum risk training',
      {
        objective: policyObjectives.minimum_risk({ alpha: 0.3 }),
        ...{ rows: prompts.slice(0, 2), promptsPerStep: 2, steps: 8 },
      },
    ],
    ['REINFORCE++', { objective: policyObjectives.reinforce_plus_plus({ beta: 0.1 }), learningRate: 0.015 }],
    [
      'VinePPO',
      {
        objective: policyObjectives.vineppo({ stepTokens: [0, 1, 2, 3, 4, 5, 6], mcRollouts: 4 }),
        ...{ promptsPerStep: 2, completionsPerPrompt: 6, steps: 10 },
      },
    ],
  ])('%s learns, and from a reward of chance nothing', async (_, options) => {
    await trainedOverControl(async () => options);
  });
});

describe('what learns beside a policy', () => {
  it('PRIME: the reward model learns which completions are right, online, and pays tokens; a resumed run goes on with it', async () => {
    const options = async (outputFolder?: string): Promise<Partial<Options>> => {
      const rewardModel = await implicitRewardModel(await toyModel(1), { learningRate: 0.01, beta: 0.5 });
      return {
        ...{ objective: policyObjectives.prime({ rewardModel }), steps: 4, completionsPerPrompt: 6 },
        ...(outputFolder && { outputFolder, resume: true, saveSteps: 2 }),
        rewards: { right: namedReward('right', {}, (text) => Math.round(fractionOfC(text))) },
      };
    };
    const straight = await run(await options());
    const losses = straight.history.map(({ metrics }) => metrics['prime/prm_loss']!);
    // Before anything is learnt it says ½ of everything.
    expect(losses[0]).toBeCloseTo(Math.log(2), 5);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    const at = join(folder, 'prime');
    await run({ ...(await options(at)), afterStep: ({ step, stop }) => (step === 1 ? stop() : undefined) });
    expect(await numbersOf((await run(await options(at))).trainer)).toEqual(await numbersOf(straight.trainer));
    const wrong = { ...(await options()), rewards: { length: (text: string) => text.length } };
    await expect(run(wrong)).rejects.toThrow(/the reward is \d+, and what is right must be a number from 0 to 1/);
    await expect(implicitRewardModel({} as never)).rejects.toThrow(/model is .*; it must be a causal language model/);
  });

  it('a value head on the policy’s own trunk: the gradient is that of the policy plus c times that of a value model', async () => {
    const vfCoef = 0.3;
    const { model, critic } = await sharedValueHead(await toyModel(1), { vfCoef, cliprangeValue: 0.2, seed: 2 });
    const rows = prompts.slice(0, 2);
    const rewards = { c: (text: string) => fractionOfC(text) };
    const sampled = await rollOut({ model, rows, rewards, completionsPerPrompt: 3, maxCompletionLength: 4 });
    const parts = policyObjectives.ppo({ critic, beta: 0 });
    const valued = await parts.annotators![0]!.annotate(sampled, { model, adapter: NO_ADAPTER } as AnnotatorContext);
    const gradientsOf = async (given: Pick<PolicyObjectiveParts, 'regularisers'>) => {
      const objective = policyObjective({ ...parts, ...given });
      const trainer = await Trainer.create(model, { optimizer: sgd() });
      const annotated = objective.annotate(valued as unknown as Rollout[], { maxCompletionLength: 4 });
      const result = await trainer.forwardBackward(annotated.rows, objective.loss);
      return { ...result, gradients: await trainer.takeGradients() };
    };
    const [both, alone] = [
      await gradientsOf({ regularisers: parts.regularisers! }),
      await gradientsOf({ regularisers: [] }),
    ];
    const beside = await ValueModel.fromCausalLM(model, { format: 'v_head', seed: 2 });
    const trainer = await Trainer.create(beside, { optimizer: sgd() });
    const states = valueRows(criticExamples(valued as unknown as Rollout[], {}));
    const values = await trainer.forwardBackward(states, valueLoss({ vfCoef, cliprangeValue: 0.2 }));
    const ofValues = await trainer.takeGradients();
    expect(both.loss).toBeCloseTo(alone.loss + values.loss, 6);
    expect(both.metrics.vf_loss).toBeCloseTo(values.metrics.vf_loss!, 6);
    for (const [name, gradient] of Object.entries(both.gradients)) {
      const [whole, policy, value] = [gradient, alone.gradients[name], ofValues[name]].map((x) => x?.toArray());
      const [a, b, c] = [await whole!, await policy, await value];
      a.forEach((x, i) => {
        expect(Math.abs(x - (b?.[i] ?? 0) - (c?.[i] ?? 0)), `${name}[${i}]`).toBeLessThan(2e-6);
      });
    }
    const head = await both.gradients['v_head.summary.weight']!.abs().sum().item();
    expect(head).toBeGreaterThan(1e-3);
    const { history } = await run({ model, objective: parts });
    expect(history[1]!.metrics.vf_loss).toBeGreaterThan(0);
    await expect(run({ objective: parts })).rejects.toThrow(/sharedValueHead: the policy has no head/);
    expect(() => policyObjectives.ppo({ critic, endState: true })).toThrow(/not in the pass of a shared trunk/);
  });

  it('value pretraining: what a fixed policy is worth is explained better and better, and the critic then learns in a run', async () => {
    const model = await toyModel(1);
    const critic = await valueModelCritic(await ValueModel.fromCausalLM(model, { seed: 1 }), {
      learningRate: 0.02,
      vfCoef: 1,
    });
    const rewards = { c: (text: string) => fractionOfC(text) };
    const given = {
      critic,
      model,
      rewards,
      rows: prompts,
      maxCompletionLength: 3,
      completionsPerPrompt: 16,
      temperature: 1,
    };
    const history = await pretrainCritic({ ...given, steps: 6 });
    const explained = history.map(({ metrics }) => metrics.explained_variance!);
    expect(explained.at(-1)! - explained[0]!, String(explained)).toBeGreaterThan(0.1);
    expect(await pretrainCritic({ ...given, steps: 3, explainedVariance: -1e9 })).toHaveLength(1);

    // Stopped while the second batch is scored, and gone on with by another critic: as if it had not been.
    const fresh = async () =>
      valueModelCritic(await ValueModel.fromCausalLM(model, { seed: 1 }), { learningRate: 0.02, vfCoef: 1 });
    const [straight, stopped, resumed] = [await fresh(), await fresh(), await fresh()];
    const few = { ...given, completionsPerPrompt: 4 };
    await pretrainCritic({ ...few, critic: straight, steps: 3 });
    const stop = new AbortController();
    const stops = (text: string, { step }: { step: number }) => {
      if (step === 1) stop.abort(new Error('stopped'));
      return fractionOfC(text);
    };
    const begun = { ...few, critic: stopped, rewards: { c: stops }, steps: 3, signal: stop.signal };
    await expect(pretrainCritic(begun)).rejects.toThrow('stopped');
    await resumed.trainer.restore((await savedState(await stopped.trainer.snapshot())) as TensorSnapshot);
    const rest = await pretrainCritic({ ...few, critic: resumed, steps: 3, firstStep: 1 });
    expect(rest.map(({ step }) => step)).toEqual([1, 2]);
    expect(await numbersOf(resumed.trainer)).toEqual(await numbersOf(straight.trainer));
    expect(await numbersOf(resumed.trainer)).not.toEqual(await numbersOf(stopped.trainer));
    await expect(pretrainCritic({ ...given, steps: 2, firstStep: 3 })).rejects.toThrow(/firstStep/);

    await run({ model, objective: policyObjectives.vapo({ critic }) });
    const still = await ValueModel.fromCausalLM(model);
    await expect(pretrainCritic({ ...given, critic: still, steps: 1 })).rejects.toThrow(
      /does not learn; use valueModelCritic/,
    );
  });
});

describe('minimum risk training', () => {
  /** Any candidates of one prompt, each with a risk. */
  const candidates = (completions: readonly number[][]): Rollout[] =>
    completions.map((completionTokens, i) => ({
      ...{ group: 0, promptTokens: [0, 1], completionTokens, oldLogProbs: [], reward: Math.sin(3 * i + 1) },
    }));
  const gradientsOf = async (rows: readonly TrainingRow[], loss: Parameters<Trainer['gradients']>[1]) => {
    const trainer = await Trainer.create(await toyModel(1), { optimizer: sgd() });
    const { gradients, ...result } = await trainer.gradients(rows, loss);
    const numbers = await Promise.all(Object.values(gradients).map((g) => g.toArray()));
    return { ...result, gradients: numbers.flat() };
  };

  it('over all completions with α 1 is the exact risk, with the gradient of REINFORCE by enumeration', async () => {
    const all = Array.from({ length: 64 }, (_, i) => [Math.floor(i / 8), i % 8]);
    const rows = minimumRiskRows(candidates(all));
    const trainer = await Trainer.create(await toyModel(1), { optimizer: sgd() });
    const logProbs = (await trainer.read(rows, sequenceLogProb)).map(([sum]) => sum!);
    expect(logProbs.reduce((sum, x) => sum + Math.exp(x), 0)).toBeCloseTo(1, 5);
    const risks = rows.map(({ annotations }) => annotations!.risks![0]!);
    const { loss, metrics, gradients } = await gradientsOf(rows, minimumRisk({ alpha: 1 }));
    const risk = logProbs.reduce((sum, x, i) => sum + Math.exp(x) * risks[i]!, 0);
    const entropy = logProbs.reduce((sum, x) => sum - Math.exp(x) * x, 0);
    expect([loss, metrics.risk!, metrics.candidate_entropy!].map((x) => x.toFixed(4))).toEqual(
      [risk, risk, entropy].map((x) => x.toFixed(4)),
    );
    // Σ p(y) Δ(y) ∇ log p(y).
    const weighted = rows.map((row, i) => ({
      ...row,
      weights: Array.from(row.weights, (weight) => (weight === 0 ? 0 : -Math.exp(logProbs[i]!) * risks[i]!)),
    }));
    const reinforce = await gradientsOf(weighted, negativeLogLikelihood);
    gradients.forEach((g, i) => {
      expect(Math.abs(g - reinforce.gradients[i]!)).toBeLessThan(1e-5);
    });
  });

  it('with α 0 is the mean risk and has no gradient; a candidate that was sampled twice is one', async () => {
    const [one, two] = candidates([[2, 3], [4]]) as [Rollout, Rollout];
    const none = { ...two, completionTokens: [5], reward: null };
    const rows = minimumRiskRows([one, two, one, none, { ...two, group: 1 }]);
    expect(rows.map(({ group, weights }) => [group, ...Array.from(weights)])).toEqual([
      [0, 0, 0.5, 0.5],
      [0, 0, 0.5],
      [1, 0, 0.5],
    ]);
    const { loss, gradients } = await gradientsOf(rows, minimumRisk({ alpha: 0 }));
    expect(loss).toBeCloseTo(-(one.reward! / 2 + two.reward! * 1.5) / 2, 5);
    expect(Math.max(...gradients.map(Math.abs))).toBeLessThan(1e-7);
    expect(() => minimumRisk({ alpha: -1 })).toThrow(/alpha is -1/);
  });

  const oneStep = { steps: 1, schedule: 'constant', seed: 3, maxCompletionLength: 4 } as const;

  it('in trainPolicy is the update of its rows of what rollOut samples, bit for bit', async () => {
    const objective = policyObjectives.minimum_risk({ alpha: 0.3 });
    const trained = await run({ ...oneStep, objective, rows: prompts.slice(0, 2) });
    const trainer = await Trainer.create(await toyModel(1), { optimizer: 'adamw_torch', seed: 3 });
    const order = new RowOrder(2, 3);
    const rollouts = await rollOut({
      ...{ model: trainer.model, rows: [0, 1].map((i) => prompts[order.at(i)]!), rewards: { c: fractionOfC } },
      ...{ completionsPerPrompt: 4, maxCompletionLength: 4, seed: 3 },
    });
    const { loss } = await update(trainer, minimumRiskRows(rollouts), minimumRisk({ alpha: 0.3 }), 0.03);
    expect(trained.history[0]!.metrics).toMatchObject({ loss, risk: loss });
    expect(await numbersOf(trained.trainer)).toEqual(await numbersOf(trainer));
  });

  it('is the same as a coupled loss, in which all rows of a step meet, however passes are cut', async () => {
    /** Q of one prompt's candidates, of the log-probs of the whole step. */
    const coupled: LossObjective = {
      name: 'coupled',
      loss: {
        ...{ name: 'coupled-minimum-risk', readout: sequenceLogProb },
        compute(logProbs, rows) {
          const powers = logProbs.mul(0.3);
          const q = powers.sub(powers.max()).exp();
          const risks = tensor(rows.map(({ annotations }) => annotations!.risks![0]!));
          return { loss: q.mul(risks).sum().div(q.sum()), metrics: {} };
        },
      },
      rows: (rollouts) => ({ rows: minimumRiskRows(rollouts) }),
    };
    const given = { ...oneStep, promptsPerStep: 1, optimizer: sgd(), learningRate: 1, completionsPerPrompt: 6 };
    const whole = (await numbersOf((await run({ ...given, objective: coupled })).trainer)).flat();
    const cut = (await numbersOf((await run({ ...given, objective: coupled, maxTokensPerPass: 16 })).trainer)).flat();
    const objective = policyObjectives.minimum_risk({ alpha: 0.3 });
    const ours = (await numbersOf((await run({ ...given, objective })).trainer)).flat();
    const before = Object.values((await toyModel(1)).weights).map((x) => x.toArray());
    const start = (await Promise.all(before)).flat();
    const largest = (of: (x: number, i: number) => number) => Math.max(...ours.map((x, i) => Math.abs(of(x, i))));
    expect(largest((x, i) => x - start[i]!)).toBeGreaterThan(1e-3);
    expect(largest((x, i) => x - whole[i]!)).toBeLessThan(1e-6);
    expect(largest((_, i) => cut[i]! - whole[i]!)).toBeLessThan(1e-6);
    await expect(run({ ...given, objective: { ...coupled, update: trpo() } })).rejects.toThrow(
      /the update "trpo" takes one pass, and the loss "coupled-minimum-risk" meets all rows of a step/,
    );
  });
});

describe('a sampler elsewhere', () => {
  /** It has a copy of the policy's numbers, as it was when it was brought. */
  const sampled = async (syncEvery: number, options: Partial<Options> = {}) => {
    const model = await toyModel(1);
    const synced: number[] = [];
    let local: LocalGenerator;
    const rollouts = externalSampler({
      generator: { name: 'elsewhere', generate: (requests) => local.generate(requests) },
      async sync({ model: policy, step }) {
        const copies = Object.entries(policy.weights).map(async ([name, x]) => {
          return [name, tensor(Float32Array.from(await x.toArray()), x.shape)] as const;
        });
        local = new LocalGenerator(policy.withWeights(Object.fromEntries(await Promise.all(copies))));
        synced.push(step);
      },
      syncEvery,
    });
    const objective = { ...policyObjectives.dapo(), ratio: truncatedImportance(tokenRatio()) };
    const given = { model, objective, oldLogProbs: 'recomputed', steps: 6, ...options } as Partial<Options>;
    return { ...(await run({ rollouts, ...given })), synced, given };
  };
  const weightsOf = async ({ trainer }: { readonly trainer: { readonly parameters: Named } }) =>
    Promise.all(Object.values(trainer.parameters).map((x) => x.toArray()));

  it('that has the policy in every step is on-policy; else it is at most so many steps old', async () => {
    const every = await sampled(1);
    expect(await weightsOf(every)).toEqual(await weightsOf(await run({ ...every.given, rollouts: singleTurn() })));
    const third = await sampled(3);
    expect([every.synced, third.synced]).toEqual([
      [0, 1, 2, 3, 4, 5],
      [0, 3],
    ]);
    const differences = third.history.map(({ metrics }) => metrics['sampling/sampling_logp_difference/mean']!);
    differences.forEach((difference, step) => {
      if (step % 3 === 0) expect(difference).toBeLessThan(1e-5);
      else expect(difference).toBeGreaterThan(1e-3);
    });
  });

  it('goes on to the same bits from where it had the policy', async () => {
    const outputFolder = join(folder, 'elsewhere');
    const afterStep = ({ step, stop }: { readonly step: number; stop(): void }) => void (step === 2 && stop());
    await sampled(3, { outputFolder, afterStep });
    expect(await weightsOf(await sampled(3, { outputFolder, resume: true }))).toEqual(
      await weightsOf(await sampled(3)),
    );
  });

  it('is refused where log π_old is said to be its own, or a prompt begins elsewhere', async () => {
    const objective = policyObjectives.dapo();
    await expect(sampled(1, { oldLogProbs: 'sampler', objective })).rejects.toThrow(/does not sample from the policy/);
    const rows: RowSource = {
      ...{ name: 'middle', settings: {} },
      next: ({ count }) => prompts.slice(0, count).map((row) => ({ row, promptTokens: [1, 2] })),
    };
    await expect(sampled(1, { rows })).rejects.toThrow(/row 0 goes on from tokens that are not those of its prompt/);
  });
});

/** The numbers that a run has trained. */
const trainedBy = ({ trainer }: { readonly trainer: Trainer }) => numbersOf(trainer);

describe('a fleet', () => {
  const adapterOf = async (model: CausalLM) =>
    createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 3 });
  /** A run of an adapter; `servers` are made of the model, which they share with it. */
  const fleetRun = async (
    servers: (model: CausalLM) => readonly SamplerServer[] | Promise<readonly SamplerServer[]>,
    options: Partial<Options> = {},
    fleet: Partial<FleetRolloutsOptions> = {},
  ) => {
    const model = await toyModel(1);
    const events: FleetEvent[] = [];
    const onEvent = (event: FleetEvent) => void events.push(event);
    const rollouts = fleetRollouts({ servers: await servers(model), folder, recheckMs: 1, onEvent, ...fleet });
    const given = { model, adapter: await adapterOf(model), oldLogProbs: 'recomputed', steps: 4, ...options };
    return { ...(await run({ rollouts, ...given } as Partial<Options>)), events };
  };
  const inProcess = async (options: Partial<Options> = {}) => {
    const model = await toyModel(1);
    const given = { model, adapter: await adapterOf(model), oldLogProbs: 'recomputed', steps: 4, ...options };
    return run({ rollouts: singleTurn(), ...given } as Partial<Options>);
  };
  const kinds = (events: readonly FleetEvent[], kind: FleetEvent['kind']) =>
    events.filter((event) => event.kind === kind);
  const two = (model: CausalLM) => [localServer(model, { name: 'a' }).server, localServer(model, { name: 'b' }).server];

  it('of two servers over HTTP gives the run that there would be in process, and leaves nothing behind', async () => {
    const own = join(folder, 'served');
    const made: ModelServer[] = [];
    const served = async (model: CausalLM) => {
      for (const _ of [1, 2])
        made.push(createServer(localModels('toy', model), { adapterFolder: own, allowPause: true }));
      const urls = await Promise.all(made.map((server) => server.listen({ port: 0 })));
      return urls.map((url) => vllmServer({ baseURL: `${url}/v1` }));
    };
    try {
      const { trainer, events, history } = await fleetRun(served, {}, { folder: own, pause: 'keep', concurrency: 1 });
      expect(await numbersOf(trainer)).toEqual(await trainedBy(await inProcess()));
      expect(kinds(events, 'probed')).toHaveLength(2);
      // Each version at each server, compared on arrival, and unloaded but for the last.
      expect(
        [kinds(events, 'loaded'), kinds(events, 'compared'), kinds(events, 'unloaded')].map((x) => x.length),
      ).toEqual([8, 8, 6]);
      for (const event of events) if (event.kind === 'compared') expect(event.maxGap).toBeLessThan(1e-5);
      const at = new Set(events.flatMap((event) => (event.kind === 'sampled' ? [event.server] : [])));
      expect(at.size).toBe(2);
      for (const { metrics } of history) expect(metrics['sampling/sampling_logp_difference/max']).toBeLessThan(1e-5);
      expect(await readdir(own)).toHaveLength(1);
    } finally {
      await Promise.all(made.map((server) => server.drain({ deadline: 0 })));
    }
  });

  it('is asked for no more tokens than the context has room for', async () => {
    const asked: TokenSampleRequest[] = [];
    const servers = (model: CausalLM) => [localServer(model, { before: (request) => void asked.push(request) }).server];
    await fleetRun(servers, { steps: 1, maxCompletionLength: 40, onWarning: () => {} });
    expect(asked.map(({ prompt, maxTokens }) => prompt.length + maxTokens!)).toEqual([32, 32]);
  });

  it('that loses a server in the middle loses what that was at, and has it again when it is there again, without its adapters', async () => {
    let asked = 0;
    let isDown = false;
    let adapters = new Map<string, unknown>();
    const servers = (model: CausalLM) => {
      const before = () => {
        if (++asked === 4) isDown = true;
        // Another process by now, which nobody has noticed.
        if (asked === 2) adapters.clear();
        if (isDown) throw noAnswer(asked % 2 ? undefined : 503);
      };
      const mortal = localServer(model, { name: 'mortal', before });
      adapters = mortal.adapters;
      const isHealthy = async () => {
        if (++asked < 8) return false;
        isDown = false;
        adapters.clear();
        return true;
      };
      return [{ ...mortal.server, isHealthy }, localServer(model, { name: 'other' }).server];
    };
    const options = { steps: 6, promptsPerStep: 4 };
    const { trainer, events } = await fleetRun(servers, options);
    expect(await numbersOf(trainer)).toEqual(await trainedBy(await inProcess(options)));
    expect(kinds(events, 'lost').length).toBeGreaterThan(0);
    expect(kinds(events, 'returned').length).toBeGreaterThan(0);
    expect(kinds(events, 'sampled')).toHaveLength(24);
    const later = events.slice(events.findLastIndex(({ kind }) => kind === 'returned'));
    expect(later.some((event) => event.kind === 'sampled' && event.server === 'mortal')).toBe(true);
  });

  describe('goes on with what it has begun (partialRollouts)', () => {
    const options = {
      ...{ steps: 4, promptsPerStep: 4, completionsPerPrompt: 2, maxCompletionLength: 8 },
      // What the sampler says of its tokens, up to rounding, has no part in it.
      objective: policyObjectives.dapo(),
    };
    const inSegments = { segmentTokens: 2, maxStaleness: 2 };
    const partialFleet = async (
      servers: (model: CausalLM) => readonly SamplerServer[] | Promise<readonly SamplerServer[]>,
      more: Partial<Options> = {},
      fleet: Partial<FleetRolloutsOptions> = {},
    ) => {
      const model = await toyModel(1);
      const learnt: Rollout[] = [];
      const events: FleetEvent[] = [];
      const onEvent = (event: FleetEvent) => void events.push(event);
      const source = fleetRollouts({ servers: await servers(model), folder, recheckMs: 1, onEvent, ...fleet });
      const rollouts: RolloutSource = {
        ...partialRollouts({ ...inSegments, source }),
        feedback: (all) => void learnt.push(...all),
      };
      const given = { model, adapter: await adapterOf(model), oldLogProbs: 'recomputed', ...options, ...more };
      return { ...(await run({ rollouts, ...given } as Partial<Options>)), events, learnt };
    };
    const made = async () => {
      const learnt: Rollout[] = [];
      const feedback = (all: readonly Rollout[]) => void learnt.push(...all);
      const rollouts: RolloutSource = { ...partialRollouts(inSegments), feedback };
      return { ...(await inProcess({ ...options, rollouts })), learnt };
    };
    let making: ReturnType<typeof made> | undefined;
    const wanted = () => (making ??= made());
    const said = (learnt: readonly Rollout[]) =>
      learnt.map((one) => {
        const { promptTokens, completionTokens, text, finishReason } = one;
        return { promptTokens, completionTokens, text, finishReason, versions: Array.from(policyVersion.of(one)) };
      });

    it('at servers of ours, over HTTP, as in process, token by token, with newer weights in each step', async () => {
      const own = join(folder, 'served-parts');
      const running: ModelServer[] = [];
      const served = async (model: CausalLM) => {
        for (const _ of [1, 2]) running.push(createServer(localModels('toy', model), { adapterFolder: own }));
        const urls = await Promise.all(running.map((server) => server.listen({ port: 0 })));
        return urls.map((url) => vllmServer({ baseURL: `${url}/v1` }));
      };
      try {
        const found = await partialFleet(served, {}, { folder: own, concurrency: 1 });
        const { trainer, history, learnt } = await wanted();
        expect(said(found.learnt)).toEqual(said(learnt));
        for (const [i, { samplerLogProbs }] of found.learnt.entries()) {
          Array.from(samplerLogProbs!).forEach((x, t) => {
            expect(x).toBeCloseTo(learnt[i]!.samplerLogProbs![t]!, 5);
          });
        }
        expect(await numbersOf(found.trainer)).toEqual(await trainedBy({ trainer }));
        const staleness = (of: typeof history) =>
          of.map(({ metrics }) => ['', '_max'].map((name) => metrics[`rollouts/staleness${name}`]));
        expect(staleness(found.history)).toEqual(staleness(history));
        expect(Math.max(...history.map(({ metrics }) => metrics['rollouts/staleness_max']!))).toBe(2);
        expect(found.learnt.some((one) => versionSpans(one)!.length > 1)).toBe(true);
        const at = new Set(found.events.flatMap((event) => (event.kind === 'sampled' ? [event.server] : [])));
        expect(at.size).toBe(2);
      } finally {
        await Promise.all(running.map((server) => server.drain({ deadline: 0 })));
      }
    });

    it('loses with a server what that was at, and nothing of before; killed and resumed it is the same run', async () => {
      const straight = await trainedBy(await wanted());
      let asked = 0;
      const mortal = (model: CausalLM) => {
        const before = () => {
          if (++asked > 5) throw noAnswer();
        };
        const { server } = localServer(model, { name: 'mortal', before });
        return [{ ...server, isHealthy: async () => false }, localServer(model, { name: 'other' }).server];
      };
      const { trainer, events } = await partialFleet(mortal);
      expect(await numbersOf(trainer)).toEqual(straight);
      expect(kinds(events, 'lost')).toHaveLength(1);

      // Of a group that is asked for elsewhere, the other completions are not generated to their ends.
      const signals: AbortSignal[] = [];
      let isFirstAborted: boolean | undefined;
      const hanging = (model: CausalLM) => {
        const { server } = localServer(model, { name: 'hanging' });
        const sample = (asked: TokenSampleRequest) => {
          const signal = asked.signal!;
          signals.push(signal);
          if (signals.length === 2) return Promise.reject(noAnswer());
          if (signals.length > 2) isFirstAborted ??= signals[0]!.aborted;
          if (signals.length > 2) return server.sample(asked);
          return new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        };
        return [{ ...server, sample }];
      };
      await partialFleet(hanging, { promptsPerStep: 1, steps: 1 });
      expect(isFirstAborted).toBe(true);

      const outputFolder = join(folder, 'fleet-parts');
      const afterStep = ({ step, stop }: { readonly step: number; stop(): void }) => void (step === 1 && stop());
      await partialFleet(two, { outputFolder, saveSteps: 1, afterStep });
      expect(await trainedBy(await partialFleet(two, { outputFolder, saveSteps: 1, resume: true }))).toEqual(straight);
    });

    it('at servers that know nothing of it with other random numbers, and each token’s own log-probability', async () => {
      const asked: TokenSampleRequest[] = [];
      const { learnt, history } = await partialFleet((model) => [
        localServer(model, { isForgetful: true, before: (request) => void asked.push(request) }).server,
      ]);
      // A seed of its own behind every cut, and every draw another.
      const seeds = new Set(asked.map(({ seed }) => seed));
      expect(seeds.size).toBe(asked.length);
      expect(asked.filter(({ begun }) => begun).length).toBeGreaterThan(4);
      for (const { begun, seed, maxTokens } of asked) {
        if (begun) expect(seed).not.toBe(begun.seed);
        expect(maxTokens! + (begun?.tokens ?? 0)).toBeLessThanOrEqual(8);
      }
      for (const rollout of learnt) {
        const versions = Array.from(policyVersion.of(rollout));
        expect(versions).toEqual([...versions].sort((a, b) => a - b));
        expect(rollout.samplerLogProbs).toHaveLength(rollout.completionTokens.length);
      }
      // Those of the first step are of the policy that learns.
      expect(history[0]!.metrics['sampling/sampling_logp_difference/max']).toBeLessThan(1e-5);
    });

    it('ends completions where the context does, also where a segment ends there', async () => {
      const learnt: Rollout[] = [];
      // A prompt of 3 tokens and 29 more are the context.
      const source = partialRollouts({ segmentTokens: 29 });
      const rollouts: RolloutSource = {
        ...source,
        sample: (request) => source.sample({ ...request, sampling: { ...request.sampling, minNewTokens: 29 } }),
        feedback: (all) => void learnt.push(...all),
      };
      const given = { oldLogProbs: 'recomputed', objective: policyObjectives.dapo(), onWarning: () => {} };
      await run({ rollouts, ...given, steps: 1, promptsPerStep: 1, maxCompletionLength: 40 } as Partial<Options>);
      expect(learnt.map(({ completionTokens }) => completionTokens.length)).toEqual([29, 29, 29, 29]);
      const nothing = {
        model: await toyModel(1),
        rows: [],
        prompts: [],
        completionsPerPrompt: 1,
        sampling: {},
        step: 0,
      };
      expect(await source.sample(nothing as unknown as RolloutRequest)).toEqual([]);
    });

    it('is refused where a server would look at a segment alone, and of sources that cannot', async () => {
      await expect(partialFleet(two, { stop: ['b'] })).rejects.toThrow(/stop looks at the whole of a completion/);
      expect(() => partialRollouts({ segmentTokens: 2, source: singleTurn() })).toThrow(/goes on with completions/);
    });
  });

  const broken = (change: (server: SamplerServer) => Partial<SamplerServer>) => (model: CausalLM) => {
    const { server } = localServer(model);
    return [{ ...server, ...change(server) }];
  };
  const lying = (lie: Partial<TokenSample>) =>
    broken((server) => ({ sample: async (asked) => (await server.sample(asked)).map((one) => ({ ...one, ...lie })) }));
  it.each<
    [RegExp, (model: CausalLM) => readonly SamplerServer[] | Promise<readonly SamplerServer[]>, Partial<Options>?]
  >([
    [
      /here differs by .* a token .* above maxGap, 0.1: its base or its adapter/,
      async () => [localServer(await toyModel(2)).server],
    ],
    [
      /here \(test\) loads no adapters/,
      broken((server) => ({ probe: async () => ({ ...(await server.probe()), hasAdapters: false }) })),
    ],
    [
      /no server has answered for 0 ms \(here\)/,
      broken(() => ({ probe: () => Promise.reject(noAnswer()), isHealthy: async () => false })),
    ],
    [
      /gave 3 completions where 4 were asked for/,
      broken((server) => ({ sample: async (asked) => (await server.sample(asked)).slice(1) })),
    ],
    [
      /sampled from "policy-00-v0", and "policy-/,
      broken((server) => ({
        sample: async (asked) => (await server.sample(asked)).map((one) => ({ ...one, weightVersion: 'policy-00-v0' })),
      })),
    ],
    [
      /was paused by somebody 4 times/,
      broken((server) => ({
        sample: async (asked) => (await server.sample(asked)).map((one) => ({ ...one, finishReason: 'abort' })),
      })),
    ],
    [/400/, broken(() => ({ sample: () => Promise.reject(noAnswer(400)) }))],
    [/gave null completions where 4 were asked for/, broken(() => ({ sample: async () => null as never }))],
    [/gave null; a completion has/, broken(() => ({ sample: async ({ n }) => Array(n).fill(null) as never }))],
    [/6 tokens where 5 were allowed/, lying({ tokenIds: Array(6).fill(1), logProbs: Array(6).fill(-1) })],
    [/gave the finishReason "tired"; it must be/, lying({ finishReason: 'tired' as never })],
    [/with 3 among its samplerLogProbs; a log-probability is not above 0/, lying({ tokenIds: [1], logProbs: [3] })],
    [/NaN for samplerLogProbs/, lying({ tokenIds: [1], logProbs: [Number.NaN] })],
    [/99 is no token id/, lying({ tokenIds: [99], logProbs: [-1] })],
    [/weights of the base have changed/, two, { adapter: undefined as never }],
    [/does not sample from the policy itself/, two, { oldLogProbs: 'sampler' }],
  ])('refuses, by name: %s', async (problem, servers, options) => {
    await expect(fleetRun(servers, options, { patienceMs: 0 })).rejects.toThrow(problem);
  });

  it('does not ask for ever where a server is well whenever it is looked at, and answers no group', async () => {
    for (const [change, problem] of [
      [
        { sample: () => Promise.reject(noAnswer(500)) },
        /same group was lost \d+ times at servers .* at last by: POST here: 500/,
      ],
      [
        { isHealthy: async () => false, sample: () => Promise.reject(noAnswer(503)) },
        /no server .* One was lost by: POST here: 503/,
      ],
    ] as const) {
      await expect(
        fleetRun(
          broken(() => change),
          {},
          { patienceMs: 20 },
        ),
      ).rejects.toThrow(problem);
    }
  });

  it('samples ahead: with maxStaleness k each step is of the policy k steps before, whatever takes how long, and learning goes on meanwhile', async () => {
    // What the sampler says of its tokens, up to rounding, has no part in it.
    const options = { steps: 5, objective: policyObjectives.dapo() };
    const copies: PeftAdapter[] = [];
    /** The same, one thing after the other: from copies of the policy. */
    const delayed = (k: number): RolloutSource => ({
      ...{ name: 'delayed', isOffPolicy: true },
      async sample(request) {
        const now = request.adapter as PeftAdapter;
        const copied = Object.entries(now.parameters).map(async ([name, x]) => {
          return [name, tensor(Float32Array.from(await x.toArray()), x.shape)] as const;
        });
        copies[request.step] = withAdapterParameters(now, Object.fromEntries(await Promise.all(copied)));
        return singleTurn().sample({ ...request, adapter: copies[Math.max(0, request.step - k)]! });
      },
    });
    for (const k of [2]) {
      const times: number[] = [];
      const slow = (model: CausalLM) => {
        let count = 0;
        // Sampling takes longer than learning, and groups end in another order than they begin.
        const before = () => new Promise<void>((resolve) => setTimeout(resolve, count++ % 2 ? 5 : 40));
        return [localServer(model, { before }).server];
      };
      const afterStep = () => void times.push(performance.now());
      const { trainer, history, events } = await fleetRun(slow, { ...options, maxStaleness: k, afterStep });
      const wanted = await inProcess({ ...options, rollouts: delayed(k) });
      expect(await numbersOf(trainer)).toEqual(await trainedBy(wanted));
      expect(history.map(({ metrics }) => metrics['rollouts/staleness'])).toEqual(
        [0, 1, 2, 3, 4].map((t) => Math.min(k, t)),
      );
      // Both are busy at once: a group has begun before the end of a step that it is not of, and ends after it.
      const across = events.filter(
        (event) =>
          event.kind === 'sampled' && times.some((t, s) => s < event.step && event.begun < t && t < event.ended),
      );
      expect(across.length).toBeGreaterThan(3);
    }
  });

  it('killed with rollouts under way, stopped in the middle of a step, and resumed, is the same run', async () => {
    const options = { steps: 5, maxStaleness: 2, saveSteps: 1 };
    const whole = { ...options, outputFolder: join(folder, 'ahead-straight') } as Partial<Options>;
    const straight = await trainedBy(await fleetRun(two, whole));
    const outputFolder = join(folder, 'ahead');
    const dead = async (error: unknown) => {
      const failing = {
        ...options,
        outputFolder,
        afterStep: ({ step }: { step: number }) => step === 2 && Promise.reject(error),
      };
      await fleetRun(two, failing as never);
    };
    await expect(dead(new Error('killed'))).rejects.toThrow('killed');
    // The signal fires in the middle of a step, with rollouts under way.
    const controller = new AbortController();
    let count = 0;
    const firing = (model: CausalLM) => [
      localServer(model, {
        before: async () => {
          if (++count === 1) setTimeout(() => controller.abort(new Error('enough')), 1);
          await new Promise((resolve) => setTimeout(resolve, 20));
        },
      }).server,
    ];
    const shared = { ...options, outputFolder, resume: true } as Partial<Options>;
    const { stopped } = await fleetRun(firing, { ...shared, signal: controller.signal });
    expect(stopped).toMatchObject({ reason: 'signal' });
    expect(await trainedBy(await fleetRun(two, shared))).toEqual(straight);
  });

  it.each<[RegExp, Partial<Options>]>([
    [
      /source of rollouts single-turn samples from the weights that are being trained/,
      { rollouts: undefined as never },
    ],
    [/further rounds are of a later policy/, { dynamicSampling: { maxRounds: 2 } }],
    [/"difficulty-curriculum" learns from what came/, { rows: difficultyCurriculum(prompts) }],
  ])('does not sample ahead where that cannot be: %s', async (problem, options) => {
    await expect(fleetRun(two, { maxStaleness: 1, ...options })).rejects.toThrow(problem);
  });
});

describe('partial rollouts', () => {
  const request = async (more: Partial<RolloutRequest> = {}): Promise<RolloutRequest> => ({
    ...{
      model: await toyModel(1),
      adapter: NO_ADAPTER,
      sampling: { maxTokens: 9, logitBias: { 7: -1 } },
      maxBatch: 64,
    },
    ...{ packWeights: 'at-once', step: 0, key: Key.fromSeed(5), rows: prompts.slice(0, 2), firstGroup: 4 },
    ...{
      prompts: [
        [0, 0, 1],
        [1, 0, 1],
      ],
      completionsPerPrompt: 3,
      ...more,
    },
  });

  it('resumed step after step are those that nobody cut, token by token, and say which step each token is of', async () => {
    const source = partialRollouts({ segmentTokens: 2 });
    const found = new Map<string, SampledRollout[]>();
    const asked = await Promise.all([0, 1, 2].map((step) => request({ step, key: Key.fromSeed(step) })));
    for (const one of asked) {
      const given = await source.sample(one);
      for (const group of groupsOf(given))
        found.set(String(group[0]!.promptTokens), [...(found.get(String(group[0]!.promptTokens)) ?? []), ...group]);
      // It goes on from what a checkpoint has.
      await source.load!(await savedState(await source.state!()));
    }
    // Nothing new: what is left comes to its end.
    for (let step = 3; (source.state!() as { pending: unknown[] }).pending.length > 0; step++) {
      for (const rollout of await source.sample(await request({ step, rows: [], prompts: [] }))) {
        found.get(String(rollout.promptTokens))?.push(rollout) ?? found.set(String(rollout.promptTokens), [rollout]);
      }
    }
    const whole = (await Promise.all(asked.map((one) => singleTurn().sample(one)))).flat();
    const byTokens = (list: readonly SampledRollout[]) =>
      list.map((one) => `${one.promptTokens}|${one.completionTokens}|${one.text}|${one.finishReason}`).sort();
    const all = [...found.values()].flat();
    expect(byTokens(all)).toEqual(byTokens(whole));
    expect(all.some((rollout) => new Set(Array.from(policyVersion.of(rollout))).size > 1)).toBe(true);
    for (const rollout of all) {
      const steps = Array.from(policyVersion.of(rollout));
      expect(steps).toEqual([...steps].sort());
      const same = whole.find(
        (one) =>
          String(one.completionTokens) === String(rollout.completionTokens) &&
          String(one.promptTokens) === String(rollout.promptTokens),
      )!;
      Array.from(rollout.samplerLogProbs).forEach((x, t) => {
        expect(Math.abs(x - same.samplerLogProbs[t]!)).toBeLessThan(1e-5);
      });
    }
  });

  it('with a bound on staleness run to their end in time, token by token those that nobody cut', async () => {
    const many = (step: number): Partial<RolloutRequest> => ({
      ...{ step, key: Key.fromSeed(step), rows: prompts.slice(0, 6), completionsPerPrompt: 1 },
      prompts: Array.from({ length: 6 }, (_, i) => [i % 3, 0, 1]),
      // Some end at once, so that a step needs few segments, and some go on for long.
      sampling: { maxTokens: 12, logitBias: { 7: -0.5 } },
    });
    const oldest = async (maxStaleness?: number) => {
      const source = partialRollouts({ segmentTokens: 1, ...(maxStaleness && { maxStaleness }) });
      const ages: number[] = [];
      const given: SampledRollout[] = [];
      for (let step = 0; step < 5; step++) {
        for (const one of await source.sample(await request(many(step)))) {
          ages.push(step - Math.min(...Array.from(policyVersion.of(one))));
          given.push(one);
        }
      }
      return { age: Math.max(...ages), given };
    };
    const [free, bounded] = [await oldest(), await oldest(2)];
    expect(free.age).toBeGreaterThan(2);
    expect(bounded.age).toBe(2);
    const whole = (
      await Promise.all([0, 1, 2, 3, 4].map(async (step) => singleTurn().sample(await request(many(step)))))
    ).flat();
    const texts = new Set(whole.map((one) => `${one.promptTokens}|${one.completionTokens}`));
    for (const one of bounded.given) expect(texts).toContain(`${one.promptTokens}|${one.completionTokens}`);
  });

  it('have of each token the log-probability under the policy that it is of, and π_old under the one that learns', async () => {
    const source = partialRollouts({ segmentTokens: 2 });
    const model = await toyModel(1);
    const copies: CausalLM[] = [];
    const learnt: { readonly rollouts: readonly Rollout[]; readonly step: number }[] = [];
    const rollouts: RolloutSource = {
      ...source,
      async sample(asked) {
        const copied = Object.entries(asked.model.weights).map(async ([name, x]) => {
          return [name, tensor(Float32Array.from(await x.toArray()), x.shape)] as const;
        });
        copies[asked.step] = model.withWeights(Object.fromEntries(await Promise.all(copied)));
        return source.sample(asked);
      },
      feedback: (all, { step }) => void learnt.push({ rollouts: all, step }),
    };
    const outputFolder = join(folder, 'versions');
    const objective = { ...policyObjectives.dapo(), ratio: truncatedImportance(tokenRatio(), { cap: 1.05 }) };
    const { history } = await run({
      ...{ model, rollouts, objective, outputFolder, oldLogProbs: 'recomputed', steps: 4 },
      ...{ promptsPerStep: 4, completionsPerPrompt: 2, maxCompletionLength: 8 },
    } as Partial<Options>);

    let [mixed, apart] = [0, 0];
    for (const { rollouts: all, step } of learnt) {
      const under = await Promise.all(
        copies.slice(0, step + 1).map((copy) =>
          sequenceLogProbs(
            copy,
            all.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]),
          ),
        ),
      );
      // What the objective makes of them: the correction of each token is π_old of the learning policy over its own version's.
      const { rows } = policyObjective(objective).annotate(all, {
        promptsPerStep: 2,
        completionsPerPrompt: 4,
      } as never);
      all.forEach((rollout, i) => {
        const from = rollout.promptTokens.length - 1;
        const versions = Array.from(policyVersion.of(rollout));
        if (new Set(versions).size > 1) mixed++;
        versions.forEach((version, t) => {
          const own = under[version]![i]!.logProbs[from + t]!;
          const now = under[step]![i]!.logProbs[from + t]!;
          expect(rollout.samplerLogProbs![t]).toBeCloseTo(own, 4);
          expect(rollout.oldLogProbs[t]).toBeCloseTo(now, 4);
          if (Math.abs(own - now) > 0.01) apart++;
        });
        const row = rows[i]!.annotations as Readonly<Record<string, ArrayLike<number>>>;
        expect(Array.from(row.sampler_log_probs!).slice(from, from + versions.length)).toEqual(
          Array.from(rollout.samplerLogProbs!),
        );
      });
      const { metrics } = history[step]!;
      const ages = all.flatMap((rollout) => Array.from(policyVersion.of(rollout), (version) => step - version));
      expect(metrics['rollouts/staleness']).toBeCloseTo(ages.reduce((a, b) => a + b, 0) / ages.length, 6);
      expect(metrics['rollouts/staleness_max']).toBe(Math.max(...ages));
      const several = all.filter((rollout) => versionSpans(rollout)!.length > 1).length;
      expect(metrics['rollouts/mixed_versions']).toBeCloseTo(several / all.length, 6);
    }
    expect([mixed > 0, apart > 0]).toEqual([true, true]);
    const lines = (await readFile(join(outputFolder, 'completions.jsonl'), 'utf8')).trim().split('\n');
    const spans = lines.map((line) => (JSON.parse(line) as { policy_versions: VersionSpan[] }).policy_versions);
    expect(spans).toEqual(learnt.flatMap(({ rollouts: all }) => all.map(versionSpans)));
  });

  it('that are replayed keep the version of then; of the policy itself it is the step', async () => {
    const learnt: Rollout[][] = [];
    const of = async (source: RolloutSource, oldLogProbs: 'sampler' | 'recomputed') => {
      learnt.length = 0;
      const feedback: RolloutSource['feedback'] = async (all, context) => {
        learnt.push([...all]);
        await source.feedback?.(all, context);
      };
      const rollouts = { state: () => null, load() {}, ...source, feedback };
      await run({ rollouts, oldLogProbs, steps: 4 } as Partial<Options>);
      return learnt.map((all) => [...new Set(all.flatMap((one) => Array.from(policyVersion.of(one))))].sort());
    };
    expect(await of(singleTurn(), 'sampler')).toEqual([[0], [1], [2], [3]]);
    const replayed = await of(prioritizedReplay({ probability: 0.5 }), 'recomputed');
    expect(replayed.every((versions, step) => versions.every((version) => version <= step))).toBe(true);
    expect(replayed.some((versions, step) => versions[0]! < step)).toBe(true);
  });

  it('train a policy, killed and resumed to the same bits', async () => {
    const partial = async (options: Partial<Options> = {}) =>
      run({
        ...{ rollouts: partialRollouts({ segmentTokens: 2 }), oldLogProbs: 'recomputed', steps: 5, saveSteps: 1 },
        ...{ objective: { ...policyObjectives.dapo(), ratio: truncatedImportance(tokenRatio()) }, ...options },
      } as Partial<Options>);
    const outputFolder = join(folder, 'partial');
    const afterStep = ({ step, stop }: { readonly step: number; stop(): void }) => void (step === 2 && stop());
    const straight = await trainedBy(await partial({ outputFolder: join(folder, 'partial-straight') }));
    await partial({ outputFolder, afterStep });
    expect(await trainedBy(await partial({ outputFolder, resume: true }))).toEqual(straight);
    expect(() => partialRollouts({ segmentTokens: 0 })).toThrow(/segmentTokens/);
  });
});

it('an evaluation leaves no trace in a source of rollouts', async () => {
  let asked = 0;
  const source = {
    ...singleTurn(),
    name: 'counting',
    state: (): unknown => asked,
    load: (state: unknown) => {
      asked = state as number;
    },
  };
  const rollouts = {
    ...source,
    sample: (request: RolloutRequest) => {
      asked++;
      return source.sample(request);
    },
  };
  await run({ rollouts, evaluationRows: prompts.slice(0, 2), evaluateEvery: 1 });
  expect(asked).toBe(2);
});

it("criticValues gives V of the state before each token, of a value model's states after each", async () => {
  const model = await ValueModel.fromCausalLM(await toyModel(1), { seed: 2 });
  const { annotate } = criticValues(model);
  const one = { group: 0, row: prompts[0]!, promptTokens: [0, 1], completionTokens: [2, 3, 7], text: '', reward: 1 };
  const rollout = { ...one, finishReason: 'stop' as const, samplerLogProbs: [0, 0, 0], rewards: {} };
  const [annotated] = await annotate([rollout], {} as AnnotatorContext);
  const [states] = await model.values([[0, 1, 2, 3, 7]]);
  expect(annotated!.values).toEqual(Array.from(states!).slice(1, 4));
});

describe('annotators', () => {
  /** Runs one in a real step, and gives what it saw and made. */
  const annotated = async (annotate: Annotator['annotate'], options: Partial<Options> = {}) => {
    let before: readonly ScoredRollout[] = [];
    let after: readonly ScoredRollout[] = [];
    let seen: readonly Rollout[] = [];
    const annotator: Annotator = {
      ...{ name: 'own', settings: {}, gives: [], state: () => 0, load: () => {} },
      async annotate(rollouts, context) {
        before = rollouts;
        after = await annotate(rollouts, context);
        return after;
      },
      learn: async (rollouts) => {
        seen = rollouts;
      },
    };
    const objective = { ...policyObjectives.grpo(), annotators: [annotator] };
    const { history } = await run({ steps: 1, objective, ...options });
    return { before, after, seen, history };
  };

  it('may sample on from any prefix and score it; what was there before is not trained', async () => {
    const onFrom = async (rollouts: readonly ScoredRollout[], { sample, score }: AnnotatorContext) => {
      const further = await sample(rollouts.map((rollout) => ({ rollout, tokens: 1, n: 2 })));
      const scored = await score(further.flat());
      return [...rollouts, ...scored.map((rollout, i) => ({ ...rollout, parent: Math.floor(i / 2) }))];
    };
    const { before, after, seen } = await annotated(onFrom);
    expect([before.length, after.length, seen.length]).toEqual([8, 24, 24]);
    for (const rollout of after.slice(8)) {
      const parent = after[rollout.parent!]!;
      expect(rollout.group).toBe(parent.group);
      expect(rollout.completionTokens[0]).toBe(parent.completionTokens[0]);
      expect(rollout.completionTokens.length).toBeLessThanOrEqual(5);
      expect(Array.from(rollout.mask!)).toEqual(rollout.completionTokens.map((_, t) => (t === 0 ? 0 : 1)));
      expect(rollout.reward).toBe(fractionOfC(rollout.text));
    }
  });

  it('give values that are those of all completions, enumerated: VinePPO', async () => {
    const letters = [0, 1, 2, 3, 4, 5, 6];
    const vine = vineValues({ stepTokens: letters, mcRollouts: 600 });
    const { after } = await annotated((rollouts, context) => vine.annotate(rollouts, context), {
      maxCompletionLength: 2,
    });
    const model = await toyModel(1);
    const end = 7;
    const fraction = (tokens: readonly number[]) => fractionOfC(tokens.map((token) => 'abcdefg'[token] ?? '').join(''));
    /** p of every token behind a state. */
    const next = async (state: readonly number[]) => {
      const scored = await sequenceLogProbs(
        model,
        [...letters, end].map((token) => [...state, token]),
      );
      return scored.map(({ logProbs }) => Math.exp(logProbs.at(-1)!));
    };
    const behind = async (prompt: readonly number[], first: number) => {
      const p = await next([...prompt, first]);
      return p.reduce((sum, x, token) => sum + x * fraction([first, token]), 0);
    };
    let worst = 0;
    for (const { promptTokens, completionTokens, values } of after.slice(0, 3)) {
      const p = await next(promptTokens);
      let first = 0;
      for (const letter of letters) first += p[letter]! * (await behind(promptTokens, letter));
      worst = Math.max(worst, Math.abs(values![0]! - first));
      if (completionTokens.length < 2) continue;
      worst = Math.max(worst, Math.abs(values![1]! - (await behind(promptTokens, completionTokens[0]!))));
    }
    // Four standard errors of a mean of 600 numbers in [0, 1].
    expect(worst).toBeLessThan((4 * 0.5) / Math.sqrt(600));
    expect(new Set(after.flatMap(({ values }) => Array.from(values!))).size).toBeGreaterThan(4);
  });

  it('of one seed do the same in every run', async () => {
    const anew = async (rollouts: readonly ScoredRollout[], { sample, score }: AnnotatorContext) =>
      score((await sample(rollouts.map((rollout) => ({ rollout })))).flat());
    const [first, second] = [await annotated(anew), await annotated(anew)];
    expect(first.after).toEqual(second.after);
    expect(first.after.map(({ text }) => text)).not.toEqual(first.before.map(({ text }) => text));
  });
});

const fed = { step: 0, advantages: [] };

describe('treeRollouts', () => {
  const leaf = (completionTokens: number[], reward: number | null): ScoredRollout => ({
    ...{
      group: 4,
      row: prompts[0]!,
      promptTokens: [9],
      completionTokens,
      samplerLogProbs: completionTokens.map(() => -1),
    },
    ...{ text: '', finishReason: 'stop' as const, reward, rewards: {} },
  });
  const two = [leaf([1, 0, 2, 0, 3], 1), leaf([4, 0, 5], 0)];
  /** Where the tree was gone on from; what comes of it is worth a half. */
  const expanded = async (options: Partial<Parameters<typeof treeRollouts>[0]>, first = two) => {
    const asked: string[] = [];
    const tree = treeRollouts({ stepTokens: [0], expansions: 1, exploration: 1, ...options });
    const all = await tree.annotate(first, {
      sample: async (prefixes: readonly { rollout: ScoredRollout; tokens?: number }[]) =>
        prefixes.map(({ rollout, tokens = 0 }) => {
          const head = rollout.completionTokens.slice(0, tokens);
          asked.push(head.join(' '));
          const mask = [...head.map(() => 0), 1, 1];
          return [{ ...rollout, completionTokens: [...head, 6, 7], mask }];
        }),
      score: async (rollouts: readonly ScoredRollout[]) => rollouts.map((one) => ({ ...one, reward: 0.5 })),
    } as unknown as AnnotatorContext);
    return { asked, all };
  };

  it('goes on from the state of the largest UCT value, as worked out by hand', async () => {
    // ln 3 = 1.0986. The prompt: 0.5 + √(1.0986 / 2) = 1.24; behind 1 0 and 1 0 2 0: 1 + 1.05; behind 4 0: 1.05.
    const { asked, all } = await expanded({});
    expect(asked).toEqual(['1 0']);
    expect(all.slice(0, 2)).toEqual(two);
    expect(all[2]).toMatchObject({
      group: 4,
      parent: 0,
      reward: 0.5,
      completionTokens: [1, 0, 6, 7],
      mask: [0, 0, 1, 1],
    });
    // Taken together, the second is not where the first is: 1 + √(1.0986 / 2) is below 1 + √1.0986.
    expect((await expanded({ expansions: 2, width: 2 })).asked).toEqual(['1 0', '1 0 2 0']);
    // One after the other, the first has been seen: (1 + 0.5) / 2 behind 1 0, by two, of three.
    expect((await expanded({ expansions: 2 })).asked).toEqual(['1 0', '1 0 2 0']);
    // What is solved is left out; then the prompt is better than the bad start.
    expect((await expanded({ isOpen: (value) => value < 1 })).asked).toEqual(['']);
    // Enough exploration goes where little was.
    const three = [...two, leaf([1, 0, 8], 1)];
    expect((await expanded({ exploration: 100, isOpen: (value) => value < 1 }, three)).asked).toEqual(['4 0']);
  });

  it('leaves alone a group of which nothing is open, and refuses what an environment wrote', async () => {
    expect((await expanded({ isOpen: () => false })).all).toEqual(two);
    expect((await expanded({}, [leaf([1, 0, 2], null)])).asked).toEqual([]);
    await expect(expanded({}, [{ ...two[0]!, mask: [0, 1, 1, 1, 1] }])).rejects.toThrow(/an environment wrote/);
  });

  it('in a run trains on all leaves of a group, shared prefixes once', async () => {
    const objective = {
      ...policyObjectives.grpo(),
      annotators: [treeRollouts({ stepTokens: [0, 1, 2], expansions: 4 })],
    };
    const seen: Rollout[] = [];
    const spy: Annotator = {
      ...{ name: 'spy', gives: [], annotate: async (rollouts) => rollouts },
      learn: async (rollouts) => void seen.push(...rollouts),
      ...{ state: () => null, load: () => {} },
    };
    await run({ objective: { ...objective, annotators: [...objective.annotators, spy] }, steps: 1 });
    expect(groupsOf(seen).map((group) => group.length)).toEqual([8, 8]);
    for (const { parent, completionTokens, mask } of seen) {
      if (parent === undefined) continue;
      const shared = Array.from(mask ?? []).filter((one) => one === 0).length;
      expect(completionTokens.slice(0, shared)).toEqual(seen[parent]!.completionTokens.slice(0, shared));
      if (shared > 0) expect([0, 1, 2]).toContain(completionTokens[shared - 1]);
    }
    expect(seen.some(({ mask }) => mask && Array.from(mask).includes(0))).toBe(true);
  });
});

describe('rewardHackMonitors', () => {
  interface Told {
    readonly kl?: number;
    readonly entropy?: number;
    readonly length?: number;
    readonly rewards?: Readonly<Record<string, number>>;
    readonly advantages?: readonly number[];
    readonly spread?: number;
  }
  /** What is logged of steps that look so. */
  const logged = async (steps: readonly Told[], options: Parameters<typeof rewardHackMonitors>[0] = {}) => {
    const monitors = rewardHackMonitors({ window: 3, ...options });
    const all: Metrics[] = [];
    for (const {
      kl = 0,
      entropy = 1,
      length = 4,
      rewards = { a: 1, b: 1 },
      advantages = [-1, 1],
      spread = 1,
    } of steps) {
      const rollouts = advantages.map(
        (_, i): Rollout => ({
          ...{ group: i >> 1, promptTokens: [0], completionTokens: new Array<number>(length).fill(1), rewards },
          ...{ reward: (i % 2) * spread, oldLogProbs: new Array<number>(length).fill(-entropy) },
          referenceLogProbs: new Array<number>(length).fill(-entropy - kl),
        }),
      );
      all.push((await monitors.learn!(rollouts, advantages, {} as AnnotatorContext)) as Metrics);
    }
    return all;
  };
  const times = <T>(count: number, of: (t: number) => T) => Array.from({ length: count }, (_, t) => of(t));

  it('each is what a closed form says of a planted change, and alarms beyond its limit alone', async () => {
    const still = (await logged(times(12, () => ({})))).at(-1)!;
    expect(still).toEqual({
      ...{ 'hack/kl_acceleration': 0, 'hack/entropy_ratio': 1, 'hack/advantage_drift': 0, 'hack/reward_share': 0.5 },
      ...{ 'hack/length_ratio': 1, 'hack/group_collapse': 0, 'hack/alarms': 0 },
    });
    // The second difference at a distance of w steps of means of a t² is 2 a w²; a straight line has none.
    const squared = (await logged(times(12, (t) => ({ kl: 0.01 * t * t })))).at(-1)!;
    expect(squared['hack/kl_acceleration']).toBeCloseTo(2 * 0.01 * 9, 10);
    expect(squared['hack/alarms']).toBe(1);
    expect((await logged(times(12, (t) => ({ kl: t })))).at(-1)!['hack/kl_acceleration']).toBeCloseTo(0, 10);
    const later = (told: Told) => logged(times(8, (t) => (t < 4 ? {} : told)));
    const changes: [Told, string, number][] = [
      [{ entropy: 0.25 }, 'hack/entropy_ratio', 0.25],
      [{ length: 8 }, 'hack/length_ratio', 2],
      [{ length: 2 }, 'hack/length_ratio', 0.5],
      [{ rewards: { a: -9, b: 1 } }, 'hack/reward_share', 0.9],
      [{ spread: 0 }, 'hack/group_collapse', 1],
      // Moved by 0.6 of a standard deviation, which is 1; and spread twice as wide.
      [{ advantages: [-0.4, 1.6] }, 'hack/advantage_drift', 0.6],
      [{ advantages: [-2, 2] }, 'hack/advantage_drift', 1],
      // Three points for two: a sixth of them lies on the other side, and the middle is 1 from both.
      [{ advantages: [-1, 0, 1] }, 'hack/advantage_drift', 1 / 3],
    ];
    for (const [told, name, value] of changes) {
      const metrics = (await later(told)).at(-1)!;
      expect(metrics[name], name).toBeCloseTo(value, 10);
      expect(metrics['hack/alarms'], name).toBe(value === 1 / 3 ? 0 : 1);
    }
    expect(
      (
        await logged(
          times(8, (t) => ({ length: t < 4 ? 4 : 8 })),
          { lengthDrift: 2 },
        )
      ).at(-1)!['hack/alarms'],
    ).toBe(0);
  });

  it('says nothing of what it cannot know, and goes on from its state', async () => {
    const early = await logged([{}, {}]);
    expect(early).toEqual([{ 'hack/alarms': 0 }, { 'hack/alarms': 0 }]);
    const alone = (await logged(times(6, () => ({ rewards: { a: 1 } })))).at(-1)!;
    expect(Object.keys(alone)).not.toContain('hack/reward_share');
    const objective = policyObjectives.grpo({ beta: 0.01 });
    const { history } = await run({
      ...{ objective: { ...objective, annotators: [rewardHackMonitors({ window: 2 })] }, steps: 7, loggingSteps: 1 },
    });
    expect(Object.keys(history.at(-1)!.metrics)).toEqual(
      expect.arrayContaining(['hack/kl_acceleration', 'hack/entropy_ratio', 'hack/advantage_drift', 'hack/alarms']),
    );
  });
});

describe('restartBuffer', () => {
  const rollout = (completionTokens: number[], reward: number | null = 1): Rollout<PromptRow> => ({
    ...{ group: 0, promptTokens: [5, 6], completionTokens, reward, oldLogProbs: [], row: { prompt: 'x' } },
  });

  it('restarts only behind the end of a step, and never behind the last token', async () => {
    const buffer = restartBuffer<PromptRow>(prompts, { stepTokens: [0, 7], probability: 1 });
    const ask = async (count: number) => buffer.next({ count, step: 0, key: Key.fromSeed(count) });
    expect((await ask(3)).every(({ promptTokens }) => promptTokens === undefined)).toBe(true);
    await buffer.feedback!([rollout([1, 0, 2, 7, 3, 0]), rollout([1, 2, 7]), rollout([0, 1], null)], fed);
    const starts = new Set((await ask(40)).map(({ promptTokens }) => String(promptTokens)));
    expect([...starts].sort()).toEqual(['5,6,1,0', '5,6,1,0,2,7']);
  });

  it('says of a row that restarts whether its trajectory was right, and puts what is asked for behind the cut', async () => {
    const buffer = restartBuffer<PromptRow>(prompts, {
      ...{ stepTokens: [0], probability: 1, append: [8, 9], isRight: ({ reward }) => reward! > 0 },
    });
    await buffer.feedback!([rollout([1, 0, 2], 1), rollout([3, 0, 2], -1)], fed);
    const rows = await buffer.next({ count: 30, step: 0, key: Key.fromSeed(3) });
    expect([...new Set(rows.map((one) => JSON.stringify(one)))].sort()).toEqual([
      '{"row":{"prompt":"x","restarted_from":"right"},"promptTokens":[5,6,1,0,8,9]}',
      '{"row":{"prompt":"x","restarted_from":"wrong"},"promptTokens":[5,6,3,0,8,9]}',
    ]);
  });

  it('goes through all rows before one comes again, and forgets the oldest trajectories', async () => {
    const buffer = restartBuffer<PromptRow>(prompts, { stepTokens: [0], probability: 0, capacity: 2 });
    const rows = (await buffer.next({ count: 7, step: 0, key: Key.fromSeed(1) })).map(({ row }) => row);
    expect(new Set(rows).size).toBe(7);
    await buffer.feedback!(
      [1, 2, 3].map((token) => rollout([0, token])),
      fed,
    );
    const { kept } = buffer.state!() as { kept: { completionTokens: number[] }[] };
    expect(kept.map(({ completionTokens }) => completionTokens[1])).toEqual([2, 3]);
  });
});

describe('difficultyCurriculum', () => {
  const solved = (row: PromptRow, rewards: readonly (number | null)[], group = 0): Rollout<PromptRow>[] =>
    rewards.map((reward) => ({
      ...{ group, promptTokens: [5, 6], completionTokens: [1], reward, oldLogProbs: [], row },
    }));

  it('draws prompts between the bounds as often as is said, and keeps a mean of their solve rates', async () => {
    const source = difficultyCurriculum<PromptRow>(prompts, { outsideWeight: 0.25, decay: 0.75 });
    // Too hard, too easy, and twice at a bound; the others are not known yet.
    await source.feedback!(
      [
        ...solved(prompts[0]!, [0, 0, 0, 0.5]),
        ...solved(prompts[1]!, [1, 1, null, 1], 1),
        ...solved(prompts[2]!, [1, 0, 0, 0, 0], 2),
        ...solved(prompts[3]!, [1, 1, 1, 1, 0], 3),
        ...solved(prompts[4]!, [null, null], 4),
        ...solved({ prompt: 'unknown' }, [1], 5),
      ],
      fed,
    );
    expect(source.state!()).toEqual([0, 1, 0.2, 0.8, null, null, null]);
    const draws = 4000;
    const counts = prompts.map(() => 0);
    for (let i = 0; i < draws; i++) {
      const [one] = await source.next({ count: 1, step: 0, key: Key.fromSeed(i) });
      counts[prompts.indexOf(one!.row as (typeof prompts)[0])]!++;
    }
    counts.forEach((count, i) => {
      const p = (i < 2 ? 0.25 : 1) / 5.5;
      // Four standard deviations of the binomial distribution.
      expect(Math.abs(count - draws * p), String(counts)).toBeLessThan(4 * Math.sqrt(draws * p * (1 - p)));
    });
    await source.feedback!(solved(prompts[0]!, [1, 1]), fed);
    expect((source.state!() as number[])[0]).toBe(0.25);
  });

  it('gives every row before one comes again, one that weighs nothing last; refuses bounds that cross', async () => {
    const source = difficultyCurriculum<PromptRow>(prompts, { outsideWeight: 0 });
    await source.feedback!(solved(prompts[3]!, [0, 0]), fed);
    for (let seed = 0; seed < 20; seed++) {
      const rows = (await source.next({ count: 9, step: 0, key: Key.fromSeed(seed) })).map(({ row }) => row);
      expect(new Set(rows.slice(0, 7)).size).toBe(7);
      expect(rows[6]).toBe(prompts[3]);
    }
    expect(() => difficultyCurriculum(prompts, { lower: 0.9 })).toThrow(/lower is 0.9, which is above upper/);
  });

  it('in a run that is killed goes on to the same bits and the same solve rates', async () => {
    const straight = await curriculumRun(join(folder, 'curriculum'));
    expect(straight.rates.filter((rate) => rate !== null).length).toBeGreaterThan(3);
    const script = join(import.meta.dirname, 'stateful-run.ts');
    const killed = join(folder, 'curriculum-killed');
    const arguments_ = ['--import', 'tsx', script, killed, '3', 'curriculum'];
    const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'ignore', 'inherit'] });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    expect((await curriculumRun(killed)).all).toBe(straight.all);
  });

  it('goes back to the prompt that teaches something, which drawing alike does not, and learns it', async () => {
    // Of twenty-eight prompts all but the first are always right or always wrong.
    const rows = Array.from({ length: 28 }, (_, i) => ({ prompt: prompts[i % 7]!.prompt, kind: i }));
    const reward = (text: string, { row }: { row: { kind: number } }) =>
      row.kind === 0 ? fractionOfC(text) : row.kind % 2;
    const differences: number[] = [];
    for (const seed of [1, 2, 3]) {
      const arms: { drawn: number; reached: number }[] = [];
      for (const outsideWeight of [1, 0.01]) {
        let drawn = 0;
        const source = difficultyCurriculum(rows, { outsideWeight, lower: 0.01, upper: 0.99, solvedAbove: 0.1 });
        const counted: typeof source = {
          ...source,
          async next(request) {
            const given = await source.next(request);
            drawn += given.filter(({ row }) => row.kind === 0).length;
            return given;
          },
        };
        const { trainer } = await run({
          ...{ rows: counted as never, rewards: { kind: reward as never }, seed, schedule: 'constant' },
          ...{ learningRate: 0.01, steps: 18, promptsPerStep: 4, completionsPerPrompt: 8 },
        });
        const [letters] = await new LocalGenerator(trainer.model).generate([
          { prompt: rows[0]!.prompt, n: 64, maxTokens: 5, seed: 1 },
        ]);
        arms.push({ drawn, reached: letters!.reduce((sum, { text }) => sum + fractionOfC(text), 0) / 64 });
      }
      differences.push(arms[1]!.drawn - arms[0]!.drawn);
      expect(arms[1]!.reached, JSON.stringify(arms)).toBeGreaterThan(0.7);
      expect(arms[1]!.reached, JSON.stringify(arms)).toBeGreaterThan(arms[0]!.reached);
    }
    const mean = differences.reduce((a, b) => a + b) / 3;
    const error = Math.sqrt(differences.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    // Times more in eighteen steps; Student's t with two degrees of freedom, 95 %.
    expect(mean - 4.303 * error, String(differences)).toBeGreaterThan(0);
  });
});

describe('prioritizedReplay', () => {
  const request = async (seed: number, count: number): Promise<RolloutRequest> => {
    const model = await toyModel(1);
    const rows = Array.from({ length: count }, (_, i) => prompts[i % 7]!);
    return {
      ...{ model, adapter: NO_ADAPTER, sampling: { maxTokens: 2 }, maxBatch: 64, packWeights: 'auto', step: 1 },
      ...{ key: Key.fromSeed(seed), rows, prompts: rows.map(({ prompt }) => model.tokenizer.encode(prompt)) },
      ...{ completionsPerPrompt: 2, firstGroup: 5 },
    };
  };
  /** A buffer of groups whose advantages are said, of one token each. */
  const filled = async (advantages: readonly number[], options: object = {}) => {
    const replay = prioritizedReplay({ probability: 1, ...options });
    const rollouts = advantages.map((_, group) => ({
      ...{
        group,
        row: prompts[0]!,
        promptTokens: [0],
        completionTokens: [group],
        text: '',
        finishReason: 'stop' as const,
      },
      ...{ samplerLogProbs: [-1], oldLogProbs: [-2], reward: group, rewards: { c: group } },
    }));
    await replay.feedback!(rollouts, { step: 0, advantages });
    return replay;
  };
  const idOf = ({ completionTokens }: { readonly completionTokens: readonly number[] }) => completionTokens[0]!;

  it('draws groups in proportion to p^α, with the weights that make a mean over draws one over the buffer', async () => {
    const sizes = [0.5, -2, 1, 0.25];
    const replay = await filled(sizes, { alpha: 0.5, beta: 1 });
    const powers = sizes.map((size) => Math.sqrt(Math.abs(size)));
    const chances = powers.map((power) => power / powers.reduce((a, b) => a + b));
    const drawn = await replay.sample(await request(1, 3000));
    expect(drawn.map(({ group }) => group)).toEqual(Array.from({ length: 3000 }, (_, i) => 5 + i));
    chances.forEach((p, i) => {
      const count = drawn.filter((one) => idOf(one) === i).length;
      // Four standard deviations of the binomial distribution.
      expect(Math.abs(count - 3000 * p)).toBeLessThan(4 * Math.sqrt(3000 * p * (1 - p)));
      // P(i) w(i) is the same for all of them, and the largest w is 1.
      const weight = drawn.find((one) => idOf(one) === i)!.extras!['prioritized-replay.weight'] as number;
      expect(weight).toBeCloseTo(Math.min(...chances) / p, 4);
    });
    expect(drawn[0]).toMatchObject({ samplerLogProbs: Float64Array.of(-1), reward: idOf(drawn[0]!) });
    expect(drawn[0]).not.toHaveProperty('oldLogProbs');
  });

  it('learns anew what a group is worth when it is drawn again, and forgets the oldest', async () => {
    const replay = await filled([1, 1], { capacity: 2 });
    const again = (await replay.sample(await request(2, 40))) as unknown as Rollout[];
    const first = again.filter((one) => idOf(one) === 0).slice(0, 1);
    await replay.feedback!(first, { step: 1, advantages: [0] });
    const counts = (await replay.sample(await request(3, 200))).filter((one) => idOf(one) === 0).length;
    expect(counts).toBeLessThan(5);
    const { row } = again[0]!;
    await replay.feedback!([{ ...first[0]!, extras: {}, completionTokens: [6], row: row! }], {
      step: 2,
      advantages: [1],
    });
    const left = new Set((await replay.sample(await request(4, 60))).map(idOf));
    expect([...left].sort()).toEqual([1, 6]);
  });

  it('in a run: rewards are those of then, log π_old is of now; advantages carry the weights', async () => {
    let scored = 0;
    const rewards = {
      c(text: string) {
        scored++;
        return fractionOfC(text);
      },
    };
    const seen: Rollout[] = [];
    const objective = {
      ...policyObjectives.dapo(),
      advantage: importanceWeighted(groupNormalized()),
      ratio: truncatedImportance(tokenRatio()),
    };
    const rollouts = prioritizedReplay({ probability: 0.5, beta: 1 });
    const feedback: typeof rollouts.feedback = (all, context) => {
      seen.push(...all.map((one, i) => ({ ...one, advantage: context.advantages[i] })));
      return rollouts.feedback!(all, context);
    };
    const given = { objective, rewards, steps: 4, oldLogProbs: 'recomputed' } as const;
    await run({ ...given, rollouts: { ...rollouts, feedback }, evaluationRows: prompts.slice(0, 1), evaluateEvery: 4 });
    const isReplayed = ({ extras }: Rollout) => extras!['prioritized-replay.group'] !== undefined;
    const replayed = seen.filter(isReplayed);
    expect(replayed.length).toBeGreaterThan(3);
    expect(scored).toBe(seen.length - replayed.length + 4);
    const distance = (rollout: Rollout) =>
      Math.max(...Array.from(rollout.oldLogProbs, (x, t) => Math.abs(x - rollout.samplerLogProbs![t]!)));
    expect(Math.max(...seen.filter((one) => !isReplayed(one)).map(distance))).toBeLessThan(1e-5);
    expect(Math.max(...replayed.map(distance))).toBeGreaterThan(1e-3);
    await expect(run({ ...given, rollouts, oldLogProbs: 'sampler' })).rejects.toThrow(
      /does not sample from the policy/,
    );
    await expect(run({ ...given, rollouts: singleTurn() })).rejects.toThrow(
      /needs extras.prioritized-replay.weight, which nothing gives/,
    );
  });

  it('in a run that is killed goes on to the same bits, buffer and average of weights', async () => {
    const straight = await replayRun(join(folder, 'replay'));
    expect(straight.all).toMatch(/prioritized-replay.group|\$stored/);
    const script = join(import.meta.dirname, 'stateful-run.ts');
    const killed = join(folder, 'replay-killed');
    const child = spawn(process.execPath, ['--import', 'tsx', script, killed, '3', 'replay'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    expect((await replayRun(killed)).all).toBe(straight.all);
  });
});

describe('what would go wrong in silence is an error that names it', () => {
  const annotatorOf = (change: (one: ScoredRollout) => unknown, more: Partial<Annotator> = {}): Partial<Options> => {
    const annotate = async (all: readonly ScoredRollout[]) => all.map(change) as ScoredRollout[];
    const own: Annotator = { name: 'own', settings: {}, gives: [], annotate, ...more };
    return { objective: { ...policyObjectives.grpo(), annotators: [own] }, steps: 1 };
  };
  const sourceOf = (change: (all: readonly object[]) => unknown): Partial<Options> => ({
    rollouts: { ...singleTurn(), name: 'own', sample: async (r) => change(await singleTurn().sample(r)) as never },
  });
  const ownAdvantage = (compute: (all: readonly Rollout[]) => unknown): Partial<Options> => ({
    objective: { ...policyObjectives.grpo(), advantage: { name: 'own', settings: {}, compute: compute as never } },
  });
  const keep = (one: ScoredRollout) => one;
  it.each<[string, Partial<Options>, RegExp]>([
    [
      'nothing of an annotator',
      annotatorOf(keep, { annotate: async () => undefined as never }),
      /the annotator own gave undefined; it must be a list/,
    ],
    [
      'a value too few',
      annotatorOf((one) => ({ ...one, values: [1] })),
      /the annotator own gave rollout \d with 1 numbers of values, and it has/,
    ],
    [
      'a value that is none',
      annotatorOf((one) => ({ ...one, values: one.completionTokens.map(() => undefined) })),
      /undefined for values\[0\]/,
    ],
    ['a baseline that is none', annotatorOf((one) => ({ ...one, baseline: Number.NaN })), /NaN for its baseline/],
    [
      'a reward that is none',
      annotatorOf((one) => ({ ...one, reward: Number.NaN })),
      /NaN for its reward; null is "not scorable"/,
    ],
    [
      'what it says it gives and does not',
      annotatorOf(keep, { gives: ['values'] }),
      /without values, which it says it gives/,
    ],
    [
      'a field of text',
      annotatorOf((one) => ({ ...one, extras: { x: true } })),
      /true for extras.x; it must be a number/,
    ],
    [
      'a metric that is none',
      annotatorOf(keep, { learn: async () => ({ x: 'a' }) as never, state: () => 0, load: () => {} }),
      /the annotator own gave "a" for the metric x/,
    ],
    [
      'a state that a checkpoint would lose',
      annotatorOf(keep, { state: () => new Map(), load: () => {} }),
      /the state of the part "annotator 0 \(own\)" is a Map/,
    ],
    ['no rollouts', sourceOf(() => []), /the source of rollouts own gave none of 2 rows/],
    [
      'log-probs of fewer tokens',
      sourceOf((all) => all.map((one) => ({ ...one, samplerLogProbs: [-1] }))),
      /with 1 numbers of samplerLogProbs/,
    ],
    [
      'an advantage that is none',
      ownAdvantage((all) => all.map(() => Number.NaN)),
      /the advantage own gave NaN for rollout 0; give a finite number/,
    ],
    ['no advantages', ownAdvantage(() => undefined), /the advantage own gave nothing for rollout 0/],
    [
      'an advantage too many',
      ownAdvantage((all) => [...all, 1].map(() => 0)),
      /the advantage own gave 9 entries for 8 rollouts/,
    ],
    [
      'verdicts that are none',
      { rewards: { own: { name: 'own', verify: async (all) => all.map(() => undefined as never) } } },
      /reward "own" returned undefined/,
    ],
  ])('%s', async (_, options, message) => {
    await expect(run(options)).rejects.toThrow(message);
  });

  it('a run whose steps make no update counts them, says why once, and ends with an error; one that makes some does not', async () => {
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    const cut = { maskTruncatedCompletions: true, maxCompletionLength: 1, rewards: { c: fractionOfC } };
    // A token that is no end is the last one.
    const endless = { model: await toyModel(1, endlessTokenizer), promptsPerStep: 1, completionsPerPrompt: 2 };
    await expect(run({ ...cut, ...endless, steps: 3, onWarning })).rejects.toThrow(
      /none of the 3 steps made an update, of the last one: 2 of 2 completions reached maxCompletionLength, which maskTruncated/,
    );
    expect(warnings.filter((message) => /made no update/.test(message))).toEqual([
      expect.stringMatching(
        /step 0 made no update: 2 of 2 completions reached .*The metric "skipped" counts such steps/,
      ),
    ]);
    const unmasked = (skip: (step: number) => boolean): Partial<Options> => ({
      rollouts: {
        ...singleTurn(),
        sample: async (r) =>
          (await singleTurn().sample(r)).map((one) =>
            skip(r.step) ? { ...one, mask: one.completionTokens.map(() => 0) } : one,
          ),
      },
      ...{ steps: 3, onWarning },
    });
    const { history, trainer } = await run(unmasked((step) => step > 0));
    expect([trainer.step, history.map(({ metrics }) => metrics.skipped)]).toEqual([1, [undefined, 1, 2]]);
    await expect(run(unmasked(() => true))).rejects.toThrow(/none of 8 completions has a token that is trained/);
    const aggregation = { name: 'none', settings: {}, weights: (lengths: readonly number[]) => lengths.map(() => 0) };
    const weighed = { ...policyObjectives.grpo(), aggregation };
    await expect(run({ objective: weighed, onWarning })).rejects.toThrow(/weighs every token of its 8 rows 0/);
  });

  it('a critic learns in one run: two at a time, two policies, or a run after another are refused; going on is not', async () => {
    const ppo = (critic: Parameters<typeof criticValues>[0]): Partial<Options> => ({
      objective: { ...policyObjectives.dapo(), advantage: gae(), annotators: [criticValues(critic)] },
    });
    const critic = tableCritic();
    const both = await Promise.allSettled([run(ppo(critic)), run(ppo(critic))]);
    const failed = both.flatMap((one) => (one.status === 'rejected' ? [String(one.reason.message)] : []));
    expect(failed).toEqual([expect.stringMatching(/the annotator critic-values\(table\) learns in another run/)]);
    await expect(run(ppo(critic))).rejects.toThrow(/has learnt in an earlier run, which this one does not go on from/);
    const again = tableCritic();
    const resumed = { ...ppo(again), outputFolder: join(folder, 'critic'), resume: true };
    await run({ ...resumed, afterStep: ({ step, stop }) => void (step === 0 && stop()) });
    expect((await run(resumed)).trainer.step).toBe(2);
    // A run that could not begin has taught it nothing.
    const fresh = tableCritic();
    await expect(run({ ...ppo(fresh), rows: [] })).rejects.toThrow(/no rows/);
    await run(ppo(fresh));
    // What does not learn is anybody's.
    const still = await ValueModel.fromCausalLM(await toyModel(1), { seed: 2 });
    await run(ppo(still));
    await run(ppo(still));
  });
});

describe('trainPolicy refuses, before a token is sampled,', () => {
  const source = (parts: Partial<RowSource>): RowSource => ({ name: 'own', settings: {}, next: () => [], ...parts });
  it.each([
    [
      'an advantage without what it needs',
      { objective: { ...policyObjectives.grpo(), advantage: gae() } },
      /the advantage gae needs values, which nothing gives: neither an annotator of the objective nor the source of rollouts single-turn/,
    ],
    [
      'a baseline that no annotator gives',
      { objective: { ...policyObjectives.remax(), annotators: [] } },
      /the advantage remax needs baseline/,
    ],
    [
      'a comparison of the sampler with itself',
      { objective: { ...policyObjectives.grpo(), ratio: truncatedImportance(tokenRatio()) } },
      /they are the same unless oldLogProbs is "recomputed"/,
    ],
    [
      'a part that learns and has no state',
      { rows: source({ feedback: () => {} }) },
      /the part "rows" has feedback\(\) and no state\(\)/,
    ],
    [
      'a state that cannot be loaded',
      { objective: { ...policyObjectives.grpo(), advantage: { ...noBaseline(), state: (): unknown => 1 } } },
      /the part "advantage" has state\(\) and no load\(\)/,
    ],
    [
      'weights of rewards that GDPO would not see',
      {
        objective: policyObjectives.gdpo(),
        rewards: { length: { verifier: (text: string) => text.length, weight: 0.5 } },
      },
      /the reward "length" has the weight 0\.5, and the advantage gdpo weighs rewards itself.*rewardWeights: \{ length: 0\.5, … \}/,
    ],
    [
      'a mask that no source gives',
      { objective: { ...policyObjectives.grpo(), samplingMask: samplingMaskReplay({ keptTokens: 3 }) } },
      /its samplingMask needs extras\.rl\.kept_tokens\.3, and the source of rollouts single-turn gives none/,
    ],
    [
      'a mask that nothing replays',
      { rollouts: singleTurn({ keptTokens: 3 }) },
      /gives log-probabilities over what it could draw; use an objective with samplingMask/,
    ],
    ['a source that gives too few rows', { rows: source({}) }, /the source own gave 0 rows where 2 were asked for/],
  ] as const)('%s', async (_, options, message) => {
    await expect(run(options as Partial<Options>)).rejects.toThrow(message);
  });
});

describe('what came before', () => {
  const rows = [
    { prompt: 'ab', completion: 'cdc' },
    { prompt: 'c', completion: 'aabb' },
  ];
  const rewards = { fraction_of_c: (text: string) => fractionOfC(text) };
  const rolled = async (model: CausalLM, source: RolloutSource, step: number, n = 3) =>
    rollOut({ model, rows, rewards, source, completionsPerPrompt: n, maxCompletionLength: 6, step, seed: 5 });
  /** The gradient of an objective by every parameter. */
  const gradientOf = async (trainer: Trainer, parts: PolicyObjectiveParts, rollouts: readonly Rollout[]) => {
    const objective = policyObjective(parts);
    const { rows: annotated } = objective.annotate(rollouts, { maxCompletionLength: 6 });
    const { gradients } = await trainer.gradients(annotated, objective.loss);
    return (await Promise.all(Object.values(gradients).map(async (x) => [...(await x.toArray())]))).flat();
  };
  const near = (found: readonly number[], wanted: readonly number[]) => {
    const size = Math.max(...wanted.map(Math.abs));
    expect(size).toBeGreaterThan(1e-3);
    expect(Math.max(...found.map((x, i) => Math.abs(x - wanted[i]!)))).toBeLessThan(1e-5 + 1e-4 * size);
  };

  it('MIXER is cross-entropy where all is forced and REINFORCE where nothing is, and Δ grows as it is said to', async () => {
    const model = await toyModel(1);
    const trainer = await Trainer.create(model, { optimizer: sgd() });
    const references = rows.map(({ prompt, completion }) => ({
      prompt: model.tokenizer.encode(prompt),
      tokens: [...model.tokenizer.encode(completion), 7],
    }));
    const likelihood: TrainingRow[] = references.map(({ prompt, tokens }) => ({
      tokens: [...prompt, ...tokens],
      weights: [...prompt.slice(1).map(() => 0), ...tokens.map(() => 1 / 2)],
    }));
    const { gradients } = await trainer.gradients(likelihood, negativeLogLikelihood);
    const mle = (await Promise.all(Object.values(gradients).map(async (x) => [...(await x.toArray())]))).flat();
    const mixed = policyObjectives.mixer();
    const incremental = mixerRollouts({ xentSteps: 1, everySteps: 2, delta: 2 });
    near(await gradientOf(trainer, mixed, await rolled(model, incremental, 0)), mle);
    const annealed = annealedRollouts({ steps: 4 });
    near(await gradientOf(trainer, mixed, await rolled(model, annealed, 0)), mle);
    const reinforced = await rolled(model, singleTurn(), 4);
    const reinforce = policyObjectives.reinforce({ baseline: 'batch-mean' });
    const pg = await gradientOf(trainer, reinforce, reinforced);
    near(await gradientOf(trainer, mixed, await rolled(model, annealed, 4)), pg);
    // In between it is the sum of both.
    const half = await gradientOf(trainer, mixed, await rolled(model, annealed, 2));
    const samples = await rolled(model, singleTurn(), 2);
    const ofSamples = await gradientOf(trainer, reinforce, samples);
    near(
      half,
      mle.map((x, i) => 0.5 * x + 0.5 * ofSamples[i]!),
    );
    // Steps, and how many tokens of references of 4 and 5 are forced.
    for (const [step, forced] of [
      [0, [4, 5]],
      [1, [2, 3]],
      [3, [0, 1]],
      [5, [0, 0]],
    ] as const) {
      const rollouts = await rolled(model, incremental, step);
      expect(rollouts.length).toBe(step === 0 ? 2 : 6);
      for (const { group, completionTokens, extras } of rollouts) {
        const head = forced[group]!;
        expect(completionTokens.slice(0, head)).toEqual(references[group]!.tokens.slice(0, head));
        expect(extras!['mixer.xent']).toEqual(completionTokens.map((_, t) => (t < head ? 1 : 0)));
        expect(extras!['mixer.reinforce']).toEqual(completionTokens.map((_, t) => (t < head ? 0 : 1)));
      }
    }
    await expect(rolled(model, mixerRollouts({ target: 'answer', xentSteps: 1, everySteps: 1 }), 0)).rejects.toThrow(
      /nothing for row 0: it has no reference in its column "answer"/,
    );
  });

  it('SCST: a sample that is the greedy completion teaches nothing, another one what it is better by', async () => {
    const objective = policyObjectives.scst();
    const still = await run({ objective, steps: 1, topK: 1 });
    const before = await numbersOf({
      parameters: (await Trainer.create(await toyModel(1), { optimizer: sgd() })).parameters,
    });
    expect(await numbersOf(still.trainer)).toEqual(before);
    const moved = await run({ objective, steps: 1 });
    expect(await numbersOf(moved.trainer)).not.toEqual(before);
    const base = { group: 0, promptTokens: [1], completionTokens: [2, 3], oldLogProbs: [0, 0] };
    expect(objective.advantage.compute([{ ...base, reward: 0.75, baseline: 0.5 }])).toEqual([0.25]);
  });

  it('a moving average of the rewards of steps before is a baseline, and any annotator that gives one', async () => {
    const baseline = movingAverageBaseline({ rate: 0.5 });
    const of = (rewards: (number | null)[]) => rewards.map((reward) => ({ reward }) as ScoredRollout);
    const seen: number[] = [];
    for (const given of [[1, 3], [4, null], [null]]) {
      const annotated = await baseline.annotate(of(given), {} as AnnotatorContext);
      seen.push(annotated[0]!.baseline!);
      await baseline.learn!(annotated as Rollout[], [], {} as AnnotatorContext);
    }
    expect(seen).toEqual([2, 2, 3]);
    expect(baseline.state!()).toEqual({ average: 3 });
    const { history } = await run({ objective: policyObjectives.reinforce({ baseline }), steps: 1 });
    expect(history[0]!.metrics.baseline).toBe(3 + 0.5 * (history[0]!.metrics.reward! - 3));
    expect(() => policyObjectives.reinforce({ baseline: 'median' as never })).toThrow(/baseline is "median"/);
  });

  it('A2C teaches its critic the returns of its segments, and runs', async () => {
    const critic = tableCritic();
    const taught: CriticExample[] = [];
    const listening = { ...critic, learn: async (examples: readonly CriticExample[]) => void taught.push(...examples) };
    const annotator = nStepValues(listening, { nSteps: 2 });
    critic.table.splice(1, 3, 0.1, 0.2, 0.4);
    const rollout = { group: 0, promptTokens: [1, 1], completionTokens: [2, 3, 4], oldLogProbs: [0, 0, 0], reward: 1 };
    const seen = await annotator.annotate([rollout as unknown as ScoredRollout], {} as AnnotatorContext);
    await annotator.learn!(seen as Rollout[], [], {} as AnnotatorContext);
    expect(taught).toEqual([
      { tokens: [1, 1, 2, 3, 4], at: [1, 2, 3], values: [0.1, 0.2, 0.4], returns: [0.4, 0.4, 1] },
    ]);
    const { history } = await run({ objective: policyObjectives.a2c({ critic: tableCritic(), nSteps: 2 }) });
    expect(history).toHaveLength(2);
    expect(() => policyObjectives.a2c({ critic: tableCritic(), nSteps: 0 })).toThrow(/nSteps is 0/);
  });

  it('SeqGAN pays a token what a discriminator expects behind it, by enumeration, and shows that the real ones', async () => {
    const model = await toyModel(1, endlessTokenizer);
    const learnt: (readonly (readonly number[])[])[] = [];
    const discriminator: Discriminator = {
      name: 'ends with c',
      settings: {},
      realness: async (sequences) => sequences.map((tokens) => (tokens.at(-1) === 2 ? 0.9 : 0.2)),
      learn: async (real, generated) => void learnt.push(real, generated),
      state: () => null,
      load: () => {},
    };
    const real = [0, 1, 2, 3].map((x) => ({ promptTokens: [0], completionTokens: [x, 2] }));
    const values = seqGanValues({ discriminator, real, rollouts: 256 });
    let seen: readonly Rollout[] = [];
    const spied: Annotator = {
      ...values,
      learn: async (rollouts, advantages, context): Promise<Metrics> => {
        seen = rollouts;
        expect(advantages.map((own) => Array.from(own as number[]))).toEqual(
          rollouts.map(({ extras }) => extras!['seqgan.q']),
        );
        return (await values.learn!(rollouts, advantages, context)) ?? {};
      },
    };
    const objective = { ...policyObjectives.seqgan({ discriminator, real }), annotators: [spied] };
    await run({ model, objective, steps: 1, maxCompletionLength: 2, completionsPerPrompt: 1, learningRate: 0 });
    expect(learnt.map(({ length }) => length)).toEqual([2, 2]);
    expect(learnt[0]!.every(([first, , last]) => first === 0 && last === 2)).toBe(true);
    expect(learnt[1]).toEqual(seen.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]));
    for (const { promptTokens, completionTokens, extras } of seen) {
      const [first, last] = extras!['seqgan.q'] as number[];
      const [scored] = await sequenceLogProbs(model, [[...promptTokens, completionTokens[0]!, 2]]);
      const chance = Math.exp(scored!.logProbs.at(-1)!);
      expect(last).toBe(completionTokens[1] === 2 ? 0.9 : 0.2);
      const error = 0.7 * Math.sqrt((chance * (1 - chance)) / 256);
      expect(Math.abs(first! - (0.2 + 0.7 * chance))).toBeLessThan(3.3 * error);
    }
    const [rollout] = seen as [Rollout];
    const other = { ...rollout, extras: { 'seqgan.q': [0.5, 0.1] } };
    const [centred] = seqGan({ baseline: 'position-mean' }).compute([
      { ...rollout, extras: { 'seqgan.q': [0.3, 0.2] } },
      other,
    ]);
    expect(Array.from(centred as number[])).toEqual([expect.closeTo(-0.1, 9), expect.closeTo(0.05, 9)]);
    const written = [{ ...rollout, mask: [0, 1] } as unknown as ScoredRollout];
    await expect(values.annotate(written, {} as AnnotatorContext)).rejects.toThrow(/tokens that an environment wrote/);
  });

  it('a classifier learns to tell two kinds of sequences apart, and is refused where it has two labels', async () => {
    const model = await toyModel(1);
    const discriminator = await classifierDiscriminator(await SequenceClassifier.fromCausalLM(model), {
      learningRate: 0.03,
      iterationsPerBatch: 12,
    });
    const [real, generated] = [0, 4].map((letter) => [0, 1, 2].map((x) => [x, letter, letter])) as [
      number[][],
      number[][],
    ];
    const metrics = (await discriminator.learn!(real, generated)) as Metrics;
    expect(metrics['discriminator/loss']).toBeGreaterThan(0.4);
    const told = await discriminator.realness([...real, ...generated]);
    expect(Math.min(...Array.from(told).slice(0, 3))).toBeGreaterThan(Math.max(...Array.from(told).slice(3)) + 0.5);
    const two = await SequenceClassifier.fromCausalLM(model, { labels: 2 });
    await expect(classifierDiscriminator(two)).rejects.toThrow(/it must be a SequenceClassifier with one label/);
  });

  it('a log is learnt from without a completion sampled or a reward asked', async () => {
    const logged = prompts.slice(0, 2).map((row, i) => ({
      ...row,
      completions: [0, 1].map((j) => ({ tokens: [2, i, j], reward: j, logProbs: [-1, -2, -1.5] })),
    }));
    const never = () => {
      throw new Error('asked');
    };
    const objective = {
      ...policyObjectives.reinforce({ baseline: 'batch-mean' }),
      ratio: truncatedImportance(noRatio(), { level: 'sequence' }),
    };
    const given = { rows: logged, rollouts: loggedRollouts(), objective, rewards: { never }, completionsPerPrompt: 2 };
    const { history, trainer } = await run({ ...given, oldLogProbs: 'recomputed', steps: 3 } as Partial<Options>);
    expect(history.map(({ metrics }) => metrics['rewards/logged/mean'])).toEqual([0.5, 0.5, 0.5]);
    const likelier = async (model: Pick<CausalLM, 'network' | 'weights'>) => {
      const scored = await sequenceLogProbs(model, [
        [0, 0, 1, 2, 0, 1],
        [0, 0, 1, 2, 0, 0],
      ]);
      const [better, worse] = scored.map(({ logProbs }) => logProbs.reduce((a, b) => a + b, 0)) as [number, number];
      return better - worse;
    };
    expect(await likelier(trainer.model)).toBeGreaterThan((await likelier(await toyModel(1))) + 0.05);
    await expect(run(given as Partial<Options>)).rejects.toThrow(/does not sample from the policy itself/);
    const short = { ...given, completionsPerPrompt: 3, oldLogProbs: 'recomputed' } as Partial<Options>;
    await expect(run(short)).rejects.toThrow(
      /its column "completions" has 2 completions, and completionsPerPrompt is 3/,
    );
  });
});
