import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, realize, tensor } from '@posttrain/core-tensor';
import { adamW, mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import { type CausalLM, LocalGenerator, NO_ADAPTER, sequenceLogProbs, ValueModel } from '@posttrain/lm';
import { negativeLogLikelihood, sequenceLogProb, Trainer, type TrainingRow, update } from '@posttrain/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Annotator,
  type AnnotatorContext,
  criticValues,
  difficultyCurriculum,
  externalSampler,
  gae,
  minimumRisk,
  minimumRiskRows,
  noBaseline,
  type PolicyTrainingOptions,
  type PromptRow,
  policyObjectives,
  type Rollout,
  type RolloutRequest,
  type RowSource,
  restartBuffer,
  rollOut,
  type ScoredRollout,
  singleTurn,
  tokenRatio,
  trainPolicy,
  truncatedImportance,
  valueModelCritic,
  vineValues,
} from '../src/index.js';
import { curriculumRun, statefulRun, tableCritic } from './stateful-run.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posttrain-parts-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

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

  it('learns, and from risks of chance nothing', async () => {
    const trainer = await Trainer.create(await toyModel(1), { optimizer: adamW() });
    const start = mapNamed(trainer.snapshot().tensors, (x) => x.add(0));
    await realize(Object.values(start));
    const loss = minimumRisk({ alpha: 0.3 });
    const trained = async (seed: number, isControl: boolean) => {
      // Copies: a trainer gives away what it has.
      const tensors = mapNamed(start, (x) => x.add(0));
      await realize(Object.values(tensors));
      trainer.restore({ step: 0, tensors });
      const chance = Key.fromSeed(seed).uniformHost(1024);
      const means: number[] = [];
      for (let step = 0; step < 8; step++) {
        const rollouts = await rollOut<PromptRow>({
          ...{ source: singleTurn(), model: trainer.model, adapter: NO_ADAPTER, rows: prompts.slice(0, 2) },
          ...{ prompts: prompts.slice(0, 2).map(({ prompt }) => trainer.model.tokenizer.encode(prompt)) },
          ...{ rewards: { fraction_of_c: fractionOfC }, scoring: {}, completionsPerPrompt: 8, firstGroup: 0 },
          ...{
            sampling: { maxTokens: 5 },
            maxBatch: 48,
            packWeights: 'auto',
            key: Key.fromSeed(seed).child(step),
            step,
          },
        });
        means.push(rollouts.reduce((sum, { reward }) => sum + reward!, 0) / rollouts.length);
        const seen = rollouts.map((one, i) => (isControl ? { ...one, reward: chance[16 * step + i]! } : one));
        await update(trainer, minimumRiskRows(seen as unknown as Rollout[]), loss, 0.03);
      }
      return means.at(-1)! - means[0]!;
    };
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) gains.push((await trained(seed, false)) - (await trained(seed, true)));
    const mean = gains.reduce((a, b) => a + b) / 3;
    const error = Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    // Student's t with two degrees of freedom, 95 %.
    expect(mean - 4.303 * error, String(gains)).toBeGreaterThan(0.15);
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
      ...{ name: 'own', settings: {}, gives: ['baseline'], state: () => 0, load: () => {} },
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

describe('restartBuffer', () => {
  const rollout = (completionTokens: number[], reward: number | null = 1): Rollout<PromptRow> => ({
    ...{ group: 0, promptTokens: [5, 6], completionTokens, reward, oldLogProbs: [], row: { prompt: 'x' } },
  });

  it('restarts only behind the end of a step, and never behind the last token', async () => {
    const buffer = restartBuffer<PromptRow>(prompts, { stepTokens: [0, 7], probability: 1 });
    const ask = async (count: number) => buffer.next({ count, step: 0, key: Key.fromSeed(count) });
    expect((await ask(3)).every(({ promptTokens }) => promptTokens === undefined)).toBe(true);
    await buffer.feedback!([rollout([1, 0, 2, 7, 3, 0]), rollout([1, 2, 7]), rollout([0, 1], null)]);
    const starts = new Set((await ask(40)).map(({ promptTokens }) => String(promptTokens)));
    expect([...starts].sort()).toEqual(['5,6,1,0', '5,6,1,0,2,7']);
  });

  it('goes through all rows before one comes again, and forgets the oldest trajectories', async () => {
    const buffer = restartBuffer<PromptRow>(prompts, { stepTokens: [0], probability: 0, capacity: 2 });
    const rows = (await buffer.next({ count: 7, step: 0, key: Key.fromSeed(1) })).map(({ row }) => row);
    expect(new Set(rows).size).toBe(7);
    await buffer.feedback!([1, 2, 3].map((token) => rollout([0, token])));
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
    await source.feedback!([
      ...solved(prompts[0]!, [0, 0, 0, 0.5]),
      ...solved(prompts[1]!, [1, 1, null, 1], 1),
      ...solved(prompts[2]!, [1, 0, 0, 0, 0], 2),
      ...solved(prompts[3]!, [1, 1, 1, 1, 0], 3),
      ...solved(prompts[4]!, [null, null], 4),
      ...solved({ prompt: 'unknown' }, [1], 5),
    ]);
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
    await source.feedback!(solved(prompts[0]!, [1, 1]));
    expect((source.state!() as number[])[0]).toBe(0.25);
  });

  it('gives every row before one comes again, one that weighs nothing last; refuses bounds that cross', async () => {
    const source = difficultyCurriculum<PromptRow>(prompts, { outsideWeight: 0 });
    await source.feedback!(solved(prompts[3]!, [0, 0]));
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
    ['a source that gives too few rows', { rows: source({}) }, /the source own gave 0 rows where 2 were asked for/],
  ] as const)('%s', async (_, options, message) => {
    await expect(run(options as Partial<Options>)).rejects.toThrow(message);
  });
});
