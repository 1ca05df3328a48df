import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Key, referenceEngine, stopGradient, tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { Verifier } from '@posttrain/interfaces';
import { CausalLM, contrastive, LocalGenerator, parseModelConfig, sequenceLogProbs, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import {
  negativeLogLikelihood,
  predictions,
  type TokenLoss,
  Trainer,
  type TrainingRow,
  type UpdateRule,
  updateByRule,
} from '@posttrain/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Advantage,
  type Annotator,
  echo,
  naturalPolicyGradient,
  noBaseline,
  noRatio,
  type PolicyObjectiveParts,
  type PolicyTrainingOptions,
  type PromptRow,
  policyGradient,
  policyObjective,
  policyObjectives,
  type Regulariser,
  type Rollout,
  type RolloutSource,
  type RowSource,
  raoBlackwellizedKl,
  rolloutField,
  samplingMaskReplay,
  sequenceSum,
  singleTurn,
  trainPolicy,
  trpo,
  truncatedImportance,
  unclipped,
  valueModelCritic,
} from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posttrain-rl-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Options = PolicyTrainingOptions<PromptRow>;

const base = async (seed = 0) => ({
  model: await toyModel(seed),
  rows: prompts,
  objective: policyObjectives.grpo(),
  rewards: { fraction_of_c: (text: string) => fractionOfC(text) },
  steps: 2,
  promptsPerStep: 2,
  completionsPerPrompt: 4,
  maxCompletionLength: 5,
  learningRate: 0.03,
  seed,
});

const run = async (options: Partial<Options> & { readonly seed?: number } = {}) =>
  trainPolicy<PromptRow>({ ...(await base(options.seed)), ...options } as Options);

describe('trainPolicy', () => {
  it.each([1, 2, 3])('learns to say c, and a random reward teaches nothing (seed %i)', async (seed) => {
    const budget = { seed, steps: 12, promptsPerStep: 4, completionsPerPrompt: 8, schedule: 'constant' as const };
    const trained = await run(budget);
    let call = 0;
    const chance = () => Key.fromSeed(seed).child(call++).uniformHost(1)[0]!;
    const control = await run({
      ...budget,
      rewards: { chance, fraction_of_c: { verifier: (text) => fractionOfC(text), weight: 0 } },
    });
    const rewardAt = ({ history }: typeof trained, step: number) =>
      history.at(step)!.metrics['rewards/fraction_of_c/mean']!;
    expect(rewardAt(trained, -1)).toBeGreaterThan(0.8);
    expect(rewardAt(trained, -1)).toBeGreaterThan(rewardAt(control, -1) + 0.3);
    expect(rewardAt(trained, 0)).toBeLessThan(0.4);
  });

  it('asks a verifier about all completions of a step at once, and learns from it as from a function', async () => {
    const batches: number[] = [];
    const verifier: Verifier = {
      name: 'reward model',
      verify: async (requests) => {
        batches.push(requests.length);
        return requests.map(({ completion }) => ({ score: fractionOfC(completion) }));
      },
    };
    const losses = ({ history }: Awaited<ReturnType<typeof run>>) => history.map(({ metrics }) => metrics.policy_loss);
    const byVerifier = await run({ rewards: { fraction_of_c: verifier } });
    expect(batches).toEqual([8, 8]);
    expect(losses(byVerifier)).toEqual(losses(await run()));
  });

  it("logs TRL's names", async () => {
    const { history } = await run({
      objective: policyObjectives.grpo({ beta: 0.1 }),
      oldLogProbs: 'recomputed',
      steps: 1,
    });
    const metrics = history[0]!.metrics;
    expect(Object.keys(metrics).sort()).toEqual(
      [
        ...[
          'loss',
          'grad_norm',
          'learning_rate',
          'epoch',
          'num_tokens',
          'step_time',
          'reward',
          'reward_std',
          'frac_reward_zero_std',
        ],
        ...['rewards/fraction_of_c/mean', 'rewards/fraction_of_c/std', 'entropy', 'kl', 'policy_loss'],
        ...['mean_length', 'min_length', 'max_length', 'clipped_ratio'].map((name) => `completions/${name}`),
        ...['mean', 'min', 'max'].map((name) => `completions/${name}_terminated_length`),
        ...['low_mean', 'low_min', 'high_mean', 'high_max', 'region_mean'].map((name) => `clip_ratio/${name}`),
        ...['mean', 'max'].map((name) => `sampling/sampling_logp_difference/${name}`),
        ...['v1', 'v2', 'k3'].map((name) => `sampling/kl_${name}`),
        ...['chi2_token', 'chi2_sequence', 'effective_sample_size', 'log_perplexity_gap'].map(
          (name) => `sampling/${name}`,
        ),
      ].sort(),
    );
    expect(metrics.kl).toBeCloseTo(0, 5);
    expect(Math.abs(metrics.policy_loss!)).toBeLessThan(1e-5);
    expect(metrics['sampling/sampling_logp_difference/max']).toBeLessThan(1e-5);
  });

  it('fails above the stated difference of sampler and trainer, and not where they are one', async () => {
    const off = (by: number): RolloutSource => ({
      ...singleTurn(),
      name: 'off',
      async sample(request) {
        const rollouts = await singleTurn().sample(request);
        return rollouts.map((rollout) => ({
          ...rollout,
          samplerLogProbs: Array.from(rollout.samplerLogProbs, (p, t) => p - (t === 0 ? by : 0)),
        }));
      },
    });
    const bounded = (by: number) =>
      run({ steps: 1, oldLogProbs: 'recomputed', maxLogProbDifference: 1e-4, rollouts: off(by) });
    expect((await bounded(0)).history[0]!.metrics['sampling/kl_v2']).toBeLessThan(1e-9);
    await expect(bounded(0.01)).rejects.toThrow(/differ by 0\.01.*above maxLogProbDifference, 0\.0001/);
    const unseen = run({ steps: 1, maxLogProbDifference: 1, oldLogProbs: 'sampler' });
    await expect(unseen).rejects.toThrow(/nothing is compared with the sampler unless oldLogProbs is "recomputed"/);
  });

  it.each(['sampler', 'recomputed'] as const)(
    'starts on policy, and moves away on reused batches (%s)',
    async (oldLogProbs) => {
      const options = { oldLogProbs, steps: 1, temperature: 0.7, learningRate: 0.1, schedule: 'constant' as const };
      const once = await run({ ...options, objective: policyObjectives.grpo({ epsilon: 0 }) });
      const often = await run({ ...options, iterationsPerBatch: 3 });
      expect(once.history[0]!.metrics['sampling/sampling_logp_difference/mean']).toBeLessThan(1e-5);
      expect(often.history[0]!.metrics['clip_ratio/region_mean']).toBeGreaterThan(0);
      expect(once.trainer.step).toBe(1);
      expect(often.trainer.step).toBe(3);
    },
  );

  it('gives the same weights however passes are cut', async () => {
    const parameters = async (options: Partial<Options>) => {
      const { trainer } = await run({ ...options, optimizer: sgd(), learningRate: 1 });
      return Promise.all(Object.values(trainer.parameters).map((p) => p.toArray()));
    };
    const whole = (await parameters({})).flat();
    const pieces = (await parameters({ maxTokensPerPass: 16, maxBatch: 3 })).flat();
    expect(Math.max(...whole.map((value, i) => Math.abs(value - pieces[i]!)))).toBeLessThan(1e-5);
  });

  it('trains the end token, and the adapter only; the reference is the adapter off', async () => {
    const { model } = await base();
    const adapter = await createAdapter(model, lora, { targetModules: 'all-linear', r: 4 });
    const before = await Promise.all(Object.values(model.weights).map((w) => w.toArray()));
    const ends = (_: string, { completionTokens }: { completionTokens: readonly number[] }) =>
      completionTokens.at(-1) === 7 ? 1 - completionTokens.length / 10 : 0;
    const { history, trainer } = await run({
      model,
      adapter,
      rewards: { ends },
      objective: policyObjectives.dapo({ beta: 0.01 }),
      learningRate: 0.05,
      steps: 12,
      promptsPerStep: 4,
      completionsPerPrompt: 8,
    });
    expect(history.at(-1)!.metrics.reward).toBeGreaterThan(history[0]!.metrics.reward! + 0.3);
    expect(history.at(-1)!.metrics['completions/clipped_ratio']).toBeLessThan(0.2);
    expect(history[0]!.metrics.kl).toBeCloseTo(0, 5);
    expect(history.at(-1)!.metrics.kl).toBeGreaterThan(0.01);
    expect(await Promise.all(Object.values(model.weights).map((w) => w.toArray()))).toEqual(before);
    expect(Object.keys(trainer.parameters)).toEqual(Object.keys(adapter.parameters));
  });

  it('masks truncated completions: with nothing else, nothing is learnt', async () => {
    const { history, trainer } = await run({ maskTruncatedCompletions: true, maxCompletionLength: 1, seed: 5 });
    const { model } = await base(5);
    const ended = history.some(({ metrics }) => metrics['completions/clipped_ratio']! < 1);
    const moved = await Promise.all(
      Object.entries(trainer.parameters).map(
        async ([name, p]) => `${await p.toArray()}` !== `${await model.weights[name]!.toArray()}`,
      ),
    );
    expect(moved.some(Boolean)).toBe(ended);
  });

  it('samples again in place of groups that teach nothing', async () => {
    // Only prompts of one topic have completions of different worth.
    const topical = (text: string, { row }: { row: PromptRow }) =>
      (row as (typeof prompts)[number]).topic < 'c' ? fractionOfC(text) + text.length : 0;
    const output = join(folder, 'dynamic');
    await run({ rewards: { topical }, dynamicSampling: { maxRounds: 8 }, steps: 1, outputFolder: output });
    const lines = (await readFile(join(output, 'completions.jsonl'), 'utf8')).trim().split('\n');
    const records = lines.map((line) => JSON.parse(line) as { prompt: string; advantage: number; reward: number });
    expect(records.length).toBe(8);
    expect(new Set(records.map(({ prompt }) => prompt[0]))).toEqual(new Set(['a', 'b']));
    expect(records.some(({ advantage }) => advantage !== 0)).toBe(true);
  });

  it('samples again in place of prompts that are too easy or too hard (PRIME), by the reward that says what is right', async () => {
    // Of four completions of these, so many are right; another reward differs among all of them, and says nothing here.
    const right: Readonly<Record<string, number>> = { a: 4, b: 0, c: 2, d: 3, e: 1, f: 4, g: 4 };
    const seen = new Map<string, number>();
    const correct = (_: string, { row }: { row: PromptRow }) => {
      const { topic } = row as (typeof prompts)[number];
      const place = seen.get(topic) ?? 0;
      seen.set(topic, place + 1);
      return place % 4 < right[topic]! ? 1 : 0;
    };
    const output = join(folder, 'accuracy');
    const rewards = { correct, length: (text: string) => text.length };
    const topicsWith = async (accuracy: { reward: string; from?: number; to?: number }, name: string) => {
      seen.clear();
      const outputFolder = join(output, name);
      const own = { rewards, steps: 1, promptsPerStep: 3, outputFolder, scoring: { concurrency: 1 } };
      await run({ ...own, dynamicSampling: { maxRounds: 8, accuracy } });
      const lines = (await readFile(join(outputFolder, 'completions.jsonl'), 'utf8')).trim().split('\n');
      return [...new Set(lines.map((line) => (JSON.parse(line) as { prompt: string }).prompt[0]))].sort();
    };
    // 0.5, 0.75 and 0.25: all others are solved by all or by none.
    expect(await topicsWith({ reward: 'correct' }, 'default')).toEqual(['c', 'd', 'e']);
    expect(await topicsWith({ reward: 'correct', from: 0.5, to: 0.75 }, 'bounds')).toEqual(['c', 'd']);
    await expect(run({ dynamicSampling: { maxRounds: 1, accuracy: { reward: 'right' } } })).rejects.toThrow(
      /accuracy is of the reward "right", and the rewards of the run are: /,
    );
  });

  it('warns when all rewards are equal', async () => {
    const warnings: string[] = [];
    await run({ rewards: { same: () => 1 }, steps: 4, onWarning: (message) => warnings.push(message) });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/frac_reward_zero_std is 1.00/);
  });

  it('stops at an infinite update before the weights, and at a slow or broken reward by name', async () => {
    const optimizer = { ...sgd(), update: () => Promise.reject() } as unknown as NonNullable<Options['optimizer']>;
    const objective = policyObjectives.grpo();
    const infinite = {
      ...objective,
      aggregation: { name: 'infinite', settings: {}, weights: (l: readonly number[]) => l.map(() => 1e38) },
    };
    await expect(
      run({ objective: infinite, optimizer, rewards: { big: (text) => text.length * 1e30 } }),
    ).rejects.toThrow(/weights have not been changed/);
    const slow = () => wait(10_000, 1, { ref: false });
    await expect(run({ rewards: { slow }, scoring: { timeoutMs: 50 } })).rejects.toThrow(/reward "slow" took longer/);
  });

  it('leaves nothing of a run that diverged to the next one', async () => {
    const healthy = () => run({ seed: 4, steps: 4 });
    const metrics = ({ history }: Awaited<ReturnType<typeof healthy>>) => history.map((entry) => entry.metrics.loss);
    const before = metrics(await healthy());
    expect(before.every(Number.isFinite)).toBe(true);
    // It samples from an adapter that is none, and more of the cache than the next run, which takes it over.
    const rows = prompts.map((row) => ({ ...row, prompt: row.prompt.repeat(7) }));
    const model = await toyModel(5);
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 1 });
    await expect(run({ model, adapter, rows, learningRate: 1e38, steps: 4 })).rejects.toThrow(
      /gave logits that are not numbers; the adapter "default" is not finite in model/,
    );
    expect(metrics(await healthy())).toEqual(before);
  });

  it('samples the prompts as they were before the first step, whatever becomes of the rows', async () => {
    const rows = prompts.map((row) => ({ ...row }));
    const onProgress = () => {
      for (const row of rows) row.prompt = 'g';
    };
    const weightsOf = async ({ trainer }: Awaited<ReturnType<typeof run>>) =>
      Promise.all(Object.values(trainer.parameters).map((parameter) => parameter.toArray()));
    expect(await weightsOf(await run({ rows, steps: 3, onProgress }))).toEqual(
      await weightsOf(await run({ steps: 3 })),
    );
  });

  it('reports progress with an estimate', async () => {
    const events: (number | undefined)[][] = [];
    await run({ onProgress: ({ done, total, etaSeconds }) => events.push([done, total, etaSeconds]) });
    expect(events.map(([done, total]) => [done, total])).toEqual([
      [1, 2],
      [2, 2],
    ]);
    expect(events[0]![2]).toBeGreaterThan(0);
    expect(events[1]![2]).toBe(0);
  });

  it('refuses options that make no sense', async () => {
    await expect(run({ temperature: 0 })).rejects.toThrow(/temperature is 0; it must be a number of at least 0.0001/);
    await expect(run({ rows: [] })).rejects.toThrow(/no rows/);
    await expect(run({ promptsPerStep: 0 })).rejects.toThrow(
      /promptsPerStep is 0; it must be a whole number of at least 1/,
    );
    const { model } = await base();
    const adapter = await createAdapter(model, lora, { targetModules: 'all-linear', loraDropout: 0.1 });
    await expect(run({ model, adapter })).rejects.toThrow(/loraDropout is 0.1/);
    const activated = await createAdapter(model, lora, { aloraInvocationTokens: [1] });
    await expect(run({ model, adapter: activated })).rejects.toThrow(
      /reads invocationStart of a sequence, which rollouts/,
    );
    await expect(run({ saveSteps: 1 })).rejects.toThrow(/need an outputFolder/);
    await expect(run({ numGenerations: 4 } as Partial<Options>)).rejects.toThrow(/unknown option "numGenerations"/);
    await expect(run({ oldLogProbs: 'vllm' as 'sampler' })).rejects.toThrow(/one of "sampler", "recomputed"/);
    await expect(valueModelCritic(model as never)).rejects.toThrow(/model is a CausalLM; it must be a value model/);
  });
});

describe('TRPO', () => {
  const region = { promptsPerStep: 4, completionsPerPrompt: 8, learningRate: 0 } as const;

  it('learns within its region: KL at most δ and a better surrogate in every step, and no learning rate', async () => {
    const maxKl = 0.1;
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const objective = policyObjectives.trpo({ maxKl, damping: 0.01, cgIterations: 6 });
      const { history, trainer } = await run({ ...region, objective, seed, steps: 6 });
      expect(trainer.step).toBe(6);
      for (const { metrics } of history) {
        expect(metrics['trpo/kl']!).toBeLessThanOrEqual(maxKl);
        expect(metrics['trpo/surrogate_change']!).toBeLessThanOrEqual(0);
        expect(metrics['trpo/step']! === 0).toBe(metrics['trpo/kl'] === 0);
      }
      // The same prompts and draws by a policy that stays as it is.
      const control = await run({ ...region, seed, steps: 6 });
      const last = ({ history: entries }: typeof control) =>
        entries.slice(-3).reduce((sum, { metrics }) => sum + metrics.reward! / 3, 0);
      gains.push(last({ history, trainer } as typeof control) - last(control));
    }
    const mean = gains.reduce((a, b) => a + b, 0) / 3;
    const error = Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    // The 95 % interval of Student's t with two degrees of freedom.
    expect(mean - 4.303 * error).toBeGreaterThan(0);
    expect(mean).toBeGreaterThan(0.15);
  });

  it('has the KL that enumerating every next token gives; where no length will do, the policy stays', async () => {
    const model = await toyModel(2);
    const trainer = await Trainer.create(model, { optimizer: sgd() });
    const sequences = [
      [0, 1, 2, 3, 4],
      [3, 1, 2, 2, 7],
    ];
    const distributions = async () => {
      const all = sequences.flatMap((tokens) =>
        [2, 3, 4].flatMap((length) =>
          Array.from({ length: 8 }, (_, token): TrainingRow => {
            const prefix = tokens.slice(0, length);
            return { tokens: [...prefix, token], weights: prefix.map(() => 1) };
          }),
        ),
      );
      return (await trainer.read(all, predictions())).logProbs.map((row) => row.at(-1)!);
    };
    const before = await distributions();
    const rollouts = sequences.map((tokens, i): Rollout => {
      const completionTokens = tokens.slice(2);
      const at = completionTokens.map((token, t) => before[i * 24 + t * 8 + token]!);
      return { group: 0, promptTokens: tokens.slice(0, 2), completionTokens, reward: i, oldLogProbs: at };
    });
    const parts = policyObjectives.trpo({ maxKl: 0.02, damping: 0.01 });
    const objective = policyObjective(parts);
    const { rows } = objective.annotate(rollouts, { maxCompletionLength: 3 });
    const { metrics } = await parts.update!.update(trainer, rows, objective.loss, { learningRate: 0 });
    const after = await distributions();
    const kl = before.reduce((sum, x, i) => sum + (Math.exp(x) * (x - after[i]!)) / 6, 0);
    expect(kl).toBeGreaterThan(0.005);
    expect(kl).toBeLessThanOrEqual(0.02 + 1e-6);
    expect(metrics['trpo/kl']).toBeCloseTo(kl, 5);
    // A small region without damping: its edge is reached, and no step along the gradient to that edge gains as much.
    const delta = 1e-4;
    const here = trainer.parameters;
    const { gradients, loss } = await trainer.gradients(rows, objective.loss);
    const edge = await trpo({ maxKl: delta, damping: 1e-5 }).update(trainer, rows, objective.loss, {
      learningRate: 0,
    });
    const [reached, gained] = [edge.metrics['trpo/kl']!, -edge.metrics['trpo/surrogate_change']!];
    expect(reached).toBeGreaterThan(delta / 2);
    expect(reached).toBeLessThanOrEqual(delta);
    const along = (length: number) => mapNamed(here, (p, name) => p.sub(gradients[name]!.mul(length)));
    const uniform = rows.map((row): TrainingRow => {
      return { ...row, weights: Array.from(row.weights, (weight) => (weight === 0 ? 0 : 1 / 6)) };
    });
    await trainer.assign(here);
    let length = 1;
    while ((await trainer.divergence(uniform, along(length))) > reached) length *= 0.9;
    const plain = loss - (await trainer.evaluate(rows, objective.loss, { parameters: along(length) })).loss;
    expect(plain).toBeGreaterThan(0);
    expect(gained).toBeGreaterThan(1.05 * plain);
    // A loss that rises wherever its gradient says that it falls: every length is tried, refused, and the update
    // counted.
    const contrary: TokenLoss = {
      ...objective.loss,
      compute(inputs) {
        const { loss } = objective.loss.compute(inputs);
        return { loss: stopGradient(loss).mul(2).sub(loss), metrics: {} };
      },
    };
    const { step } = trainer;
    const refused = await trpo({ maxKl: 1e-3 }).update(trainer, rows, contrary, { learningRate: 0 });
    expect(refused.metrics).toEqual({ 'trpo/kl': 0, 'trpo/step': 0, 'trpo/surrogate_change': 0 });
    expect(trainer.step).toBe(step + 1);
    expect(await distributions()).toEqual(after);
  });

  it('stops and goes on as the same run, and refuses a surrogate whose value says nothing', async () => {
    const options = {
      ...region,
      objective: policyObjectives.trpo({ maxKl: 0.05 }),
      seed: 3,
      steps: 4,
      oldLogProbs: 'sampler' as const,
    };
    const straight = await run(options);
    const outputFolder = join(folder, 'trpo');
    await run({ ...options, outputFolder, afterStep: ({ step, stop }) => (step === 1 ? stop() : undefined) });
    const other = { ...options, objective: policyObjectives.trpo({ maxKl: 0.06 }), outputFolder, resume: true };
    await expect(run(other)).rejects.toThrow(/objective\.update\.maxKl was 0\.05 and is 0\.06/);
    const resumed = await run({ ...options, outputFolder, resume: true });
    const numbers = async ({ trainer }: typeof resumed) =>
      Promise.all(Object.values(trainer.parameters).map((p) => p.toArray()));
    expect(await numbers(resumed)).toEqual(await numbers(straight));
    const parts = policyObjectives.trpo();
    expect(() => policyObjective({ ...parts, surrogate: policyGradient() })).toThrow(/compares values of the loss/);
    expect(() => policyObjective({ ...parts, surrogate: unclipped() })).not.toThrow();
    expect(() => trpo({ backtrackCoefficient: 1 })).toThrow(/backtrackCoefficient is 1/);
  });
});

describe('the natural policy gradient', () => {
  it('moves the policy the same however it is parametrised, which the gradient does not; the KL is what it is set to', async () => {
    const model = await toyModel(2);
    const sequences = [
      [0, 1, 2, 3, 4],
      [3, 1, 2, 2, 7],
    ];
    /** What an update does to the policy whose LoRA is scaled by `loraAlpha`: another parametrisation, affine, of the same policies. */
    const moved = async (loraAlpha: number, rule: UpdateRule) => {
      const adapter = await createAdapter(model, lora, { r: 2, loraAlpha, targetModules: 'all-linear' }, { seed: 3 });
      const trainer = await Trainer.create(model, { optimizer: sgd(), adapter });
      const read = async () => {
        const rows = sequences.map((tokens): TrainingRow => ({ tokens, weights: tokens.slice(1).map(() => 1) }));
        return (await trainer.read(rows, predictions())).logProbs.map((own) => Array.from(own));
      };
      const before = await read();
      const rollouts = sequences.map((tokens, i): Rollout => {
        const oldLogProbs = before[i]!.slice(1);
        return {
          group: 0,
          promptTokens: tokens.slice(0, 2),
          completionTokens: tokens.slice(2),
          reward: i,
          oldLogProbs,
        };
      });
      const objective = policyObjective(policyObjectives.natural_policy_gradient());
      const { rows } = objective.annotate(rollouts, { maxCompletionLength: 3 });
      const { metrics } = await updateByRule(trainer, rule, rows, objective.loss, { learningRate: 0.02 });
      const after = await read();
      return { metrics, change: after.flatMap((own, i) => own.map((x, t) => x - before[i]![t]!)) };
    };
    const apart = (a: number[], b: number[]) => {
      const norm = (x: number[]) => Math.sqrt(x.reduce((sum, y) => sum + y ** 2, 0));
      return norm(a.map((x, i) => x - b[i]!)) / norm(a);
    };
    const natural = naturalPolicyGradient({ damping: 1e-7, cgIterations: 12 });
    const [small, large] = [await moved(2, natural), await moved(8, natural)];
    expect(apart(small.change, large.change)).toBeLessThan(0.03);
    const plain: UpdateRule = {
      ...{ name: 'plain', settings: {} },
      async update(trainer, rows, loss, { learningRate }) {
        const result = await trainer.forwardBackward(rows, loss);
        return { ...result, ...(await trainer.optimStep({ learningRate })) };
      },
    };
    expect(apart((await moved(2, plain)).change, (await moved(8, plain)).change)).toBeGreaterThan(5);
    const { metrics } = await moved(4, naturalPolicyGradient({ damping: 1e-6, cgIterations: 12, normalizedKl: 1e-4 }));
    // But for terms of the third order.
    expect(Math.abs(metrics['natural/kl']! / 1e-4 - 1)).toBeLessThan(0.15);
    expect(() => naturalPolicyGradient({ damping: -1 })).toThrow(/damping is -1/);
  });

  it('learns through trainPolicy, and stands still where all rewards are equal', async () => {
    const objective = policyObjectives.natural_policy_gradient({ normalizedKl: 0.05, damping: 0.01, cgIterations: 6 });
    const given = { objective, promptsPerStep: 4, completionsPerPrompt: 8 };
    const { history } = await run({ ...given, steps: 8, seed: 1 });
    expect(history.at(-1)!.metrics.reward).toBeGreaterThan(history[0]!.metrics.reward! + 0.2);
    const flat = await run({ ...given, steps: 1, rewards: { one: () => 1 } });
    expect(flat.history[0]!.metrics).toMatchObject({ 'natural/kl': 0, 'natural/step_norm': 0, grad_norm: 0 });
  });
});

describe('sampler and trainer are one', () => {
  const bases: readonly (readonly [string, (model: CausalLM) => Promise<CausalLM>])[] = [
    ['float32', async (model) => model],
    ...(['nf4', 'int8', 'int4'] as const).map(
      (method) => [method, (model: CausalLM) => model.quantize({ method })] as const,
    ),
  ];
  // One kernel set: what is left is the rounding of float32 in passes of other shapes.
  it.each(bases)(
    'over a base in %s, without an adapter as far as it can be trained and with one that has learnt',
    async (name, of) => {
      const model = await of(await toyModel(1));
      const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 1 });
      const arms = name === 'float32' ? [undefined, adapter] : [adapter];
      for (const trained of arms) {
        const given = { model, ...(trained && { adapter: trained }), oldLogProbs: 'recomputed' as const, steps: 3 };
        const { history } = await run({ ...given, maxLogProbDifference: 2e-5 });
        for (const { metrics } of history) {
          expect(metrics['sampling/kl_v2']).toBeLessThan(1e-10);
          expect(metrics['sampling/effective_sample_size']).toBeCloseTo(1, 6);
        }
        expect(history.at(-1)!.metrics.grad_norm).toBeGreaterThan(0);
      }
    },
  );
});

describe('sampling-mask replay', () => {
  const replayed = (keptTokens: number): PolicyObjectiveParts => ({
    ...policyObjectives.grpo(),
    samplingMask: samplingMaskReplay({ keptTokens }),
  });

  it.each([
    ['topK', { topK: 3 }, 3],
    ['topP', { topP: 0.6 }, 8],
    ['minP', { minP: 0.5, temperature: 0.8 }, 8],
  ] as const)(
    '%s: the ratio is 1 on policy, of the sampler and recomputed, and the mass is what was kept',
    async (_, cut, keptTokens) => {
      const given = { ...cut, objective: replayed(keptTokens), rollouts: singleTurn({ keptTokens }), steps: 1 };
      const { history } = await run({ ...given, oldLogProbs: 'recomputed', maxLogProbDifference: 2e-5 });
      const { metrics } = history[0]!;
      expect(metrics['sampling_mask/mass']).toBeGreaterThan(0.3);
      expect(metrics['sampling_mask/mass']).toBeLessThan(0.95);
      const free = await run(given);
      expect(free.history[0]!.metrics['sampling/sampling_logp_difference/mean']).toBeLessThan(1e-5);
    },
  );

  it('has the gradient of the expected reward of what can be drawn, over all completions, by differences', () =>
    onEngine(referenceEngine(), async () => {
      const model = await toyModel(4);
      const [promptTokens, temperature] = [[0, 1], 1];
      const rewardOf = (tokens: readonly number[]) => tokens[0]! * 0.3 - tokens.at(-1)! * 0.1;
      // Four completions of two tokens can come of two tokens a place.
      const generator = new LocalGenerator(model, { maxBatch: 64 });
      const asked = { prompt: { tokenIds: promptTokens }, n: 64, seed: 1, maxTokens: 2, topK: 2, temperature };
      const reports = { logProbs: true, samplingLogProbs: true, keptTokens: true };
      const [drawn] = await generator.generate([{ ...asked, ...reports }]);
      const distinct = [...new Map(drawn!.map((one) => [String(one.tokenIds), one])).values()];
      const shares = distinct.map((one) => Math.exp(one.samplingLogProbs!.reduce((a, b) => a + b)));
      expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      const parts: PolicyObjectiveParts = {
        ...{ name: 'reinforce', advantage: noBaseline(), ratio: noRatio() },
        ...{ surrogate: policyGradient(), aggregation: sequenceSum() },
      };
      const gradientOf = async (own: PolicyObjectiveParts) => {
        const trainer = await Trainer.create(model, { optimizer: sgd(), maxGradNorm: 0 });
        const objective = policyObjective(own, { temperature });
        // Each completion as often as it comes: the mean over them is the expectation.
        const rollouts = distinct.map((one, i): Rollout => {
          const completionTokens = one.tokenIds!;
          const reward = rewardOf(completionTokens) * shares[i]! * distinct.length;
          const plain = { group: i, promptTokens, completionTokens, reward, oldLogProbs: one.samplingLogProbs! };
          return { ...plain, extras: { 'rl.kept_tokens.2': one.keptTokens!.flatMap((ids) => [...ids!]) } };
        });
        await trainer.forwardBackward(objective.annotate(rollouts, { maxCompletionLength: 2 }).rows, objective.loss);
        return trainer.takeGradients();
      };
      // J of other weights, what may be drawn being held: from log-probabilities over the vocabulary.
      const expected = async (weights: Named) => {
        const sequences = distinct.map(({ tokenIds }) => [...promptTokens, ...tokenIds!]);
        const moved = await sequenceLogProbs(model.withWeights(weights), sequences, { temperature, topLogProbs: 8 });
        return distinct.reduce((sum, one, i) => {
          const logProb = one.tokenIds!.reduce((total, token, t) => {
            const at = new Map(moved[i]!.topLogProbs![1 + t]!.map((top) => [top.tokenId, top.logProb]));
            const mass = one.keptTokens![t]!.reduce((all, id) => all + Math.exp(at.get(id)!), 0);
            return total + at.get(token)! - Math.log(mass);
          }, 0);
          return sum + Math.exp(logProb) * rewardOf(one.tokenIds!);
        }, 0);
      };
      const gradient = await gradientOf({ ...parts, samplingMask: samplingMaskReplay({ keptTokens: 2 }) });
      const unmasked = await gradientOf(parts);
      for (const name of ['lm_head.weight', 'model.norm.weight']) {
        const direction = model.weights[name]!.mul(0).add(tensor(await signs(gradient[name]!), gradient[name]!.shape));
        const at = (by: number) => expected({ ...model.weights, [name]: model.weights[name]!.add(direction.mul(by)) });
        const slope = ((await at(1e-3)) - (await at(-1e-3))) / 2e-3;
        const along = async (g: Named) => -(await g[name]!.mul(direction).sum().item());
        expect(Math.abs((await along(gradient)) - slope), name).toBeLessThan(1e-3 * Math.abs(slope));
        expect(Math.abs((await along(unmasked)) - slope), name).toBeGreaterThan(0.02 * Math.abs(slope));
      }
    }));

  it('refuses what the mask does not say, by name', async () => {
    const few = run({ objective: replayed(2), rollouts: singleTurn({ keptTokens: 2 }), steps: 1 });
    // Nothing is cut, so every token is null; of three kept tokens two are said.
    expect((await few).history).toHaveLength(1);
    const more = { objective: replayed(2), rollouts: singleTurn({ keptTokens: 2 }), steps: 1, topK: 3 };
    await expect(run(more)).rejects.toThrow(/truncation left 3 tokens, and keptTokens is 2; raise it/);
    const edited = { ...more, topK: 2, repetitionPenalty: 1.2 };
    await expect(run(edited)).rejects.toThrow(/repetitionPenalty changes how likely tokens are/);
    const held = { ...replayed(2), regularisers: policyObjectives.grpo({ beta: 0.1 }).regularisers! };
    expect(() => policyObjective(held)).toThrow(/which the reference does not have.*use beta: 0/);
    const mix = () => contrastive({ amateur: { model: {} as CausalLM } });
    expect(() => singleTurn({ keptTokens: 2, mix })).toThrow(/leave one of mix and keptTokens out/);
  });
});

/** 1 where a number is positive, else -1. */
const signs = async (x: { toArray(): Promise<number[]> }): Promise<Float32Array> =>
  Float32Array.from(await x.toArray(), (value) => (value > 0 ? 1 : -1));

describe('rollouts that are drawn from several models', () => {
  const guided = (amateur: CausalLM) => contrastive({ amateur: { model: amateur }, alpha: 0, beta: 0.7 });
  /** A model of four tokens, none of which ends a text: 16 completions of two tokens. */
  const fourTokens = (seed: number) => {
    const model = { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] };
    const words = new Tokenizer({ tokenizer: { version: '1.0', added_tokens: [], model } });
    const config = parseModelConfig({
      ...{ model_type: 'llama', vocab_size: 4, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1 },
      ...{ num_attention_heads: 2, max_position_embeddings: 16, initializer_range: 0.15, eos_token_id: null },
    });
    return CausalLM.initialize({ config, tokenizer: words, name: 'four' }, seed);
  };
  const plain: PolicyObjectiveParts = {
    ...{ name: 'reinforce', advantage: noBaseline(), ratio: noRatio() },
    ...{ surrogate: policyGradient(), aggregation: sequenceSum() },
  };
  const corrected = (cap: number): PolicyObjectiveParts => ({
    ...plain,
    ratio: truncatedImportance(noRatio(), { level: 'sequence', cap }),
  });

  it('have, weighted, the gradient of the expected reward of the policy: over all completions, by differences', () =>
    onEngine(referenceEngine(), async () => {
      const [model, amateur] = [await fourTokens(1), await fourTokens(2)];
      const promptTokens = [0, 1];
      const generator = new LocalGenerator(model, { maxBatch: 256 });
      const asked = { n: 600, maxTokens: 2, logProbs: true, samplingLogProbs: true, mix: guided(amateur), seed: 1 };
      const [sampled] = await generator.generate([
        { ...asked, prompt: { tokenIds: promptTokens, continuesText: true } },
      ]);
      const distinct = [...new Map(sampled!.map((one) => [one.tokenIds!.join(), one])).values()];
      expect(distinct.length).toBe(16);
      const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
      const shares = distinct.map(({ samplingLogProbs }) => Math.exp(sum([...samplingLogProbs!])));
      expect(Math.abs(sum(shares) - 1)).toBeLessThan(1e-5);
      const rewardOf = (tokens: readonly number[]) => (tokens[0] === 2 ? 1 : 0) + (tokens[1] === 3 ? 0.5 : 0);

      /** ∂(expected loss) with the completions' own shares, by parameter. */
      const gradientOf = async (parts: PolicyObjectiveParts) => {
        const objective = policyObjective(parts);
        const rollouts = distinct.map(({ tokenIds, logProbs, samplingLogProbs }, i) => ({
          ...{ group: i, promptTokens, completionTokens: tokenIds!, reward: rewardOf(tokenIds!) },
          ...{ oldLogProbs: logProbs!, samplerLogProbs: samplingLogProbs! },
        }));
        const { rows } = objective.annotate(rollouts, { maxCompletionLength: 2 });
        const weighted = rows.map((row, i) => ({
          ...row,
          weights: Array.from(row.weights, (weight) => weight * shares[i]! * rows.length),
        }));
        const trainer = await Trainer.create(model, { optimizer: sgd(), maxGradNorm: 0 });
        await trainer.forwardBackward(weighted, objective.loss);
        return trainer.takeGradients();
      };
      const expectedReward = async (weights: CausalLM['weights']) => {
        const sequences = distinct.map(({ tokenIds }) => [...promptTokens, ...tokenIds!]);
        const scored = await sequenceLogProbs(model.withWeights(weights), sequences);
        const rewards = scored.map(
          ({ logProbs }, i) => Math.exp(sum([...logProbs.slice(-2)])) * rewardOf(distinct[i]!.tokenIds!),
        );
        return sum(rewards);
      };

      const gradient = await gradientOf(corrected(1e6));
      const uncorrected = await gradientOf(plain);
      let missed = 0;
      for (const seed of [1, 2, 3]) {
        const step = 0.002;
        const direction = Object.entries(model.weights).map(([name, { shape, size }], i) => {
          return [name, tensor(Key.fromSeed(seed).child(i).normalHost(size), shape)] as const;
        });
        const moved = (by: number) =>
          expectedReward(Object.fromEntries(direction.map(([name, d]) => [name, model.weights[name]!.add(d.mul(by))])));
        const slope = ((await moved(step)) - (await moved(-step))) / (2 * step);
        const along = async (g: typeof gradient) => {
          let dot = 0;
          for (const [name, d] of direction) {
            const [a, b] = [await g[name]!.toArray(), await d.toArray()];
            dot += a.reduce((total, x, i) => total + x * b[i]!, 0);
          }
          return -dot;
        };
        expect(Math.abs((await along(gradient)) - slope)).toBeLessThan(1e-3);
        missed = Math.max(missed, Math.abs((await along(uncorrected)) - slope));
      }
      // Without the weights the same check fails.
      expect(missed).toBeGreaterThan(0.02);
    }));

  it('reach the objective with both log-probabilities, and are refused without a correction', async () => {
    const amateur = await toyModel(7);
    const rollouts = singleTurn({ mix: guided(amateur) });
    await expect(run({ rollouts, objective: policyObjectives.grpo() })).rejects.toThrow(/does not correct for it/);
    let seen = 0;
    const watching: Advantage = {
      ...noBaseline(),
      name: 'watching',
      compute(list) {
        for (const { oldLogProbs, samplerLogProbs } of list) {
          const differ = Array.from(oldLogProbs, (logProb, t) => Math.abs(logProb - samplerLogProbs![t]!));
          seen = Math.max(seen, ...differ);
        }
        return noBaseline().compute(list);
      },
    };
    const objective = { ...corrected(5), advantage: watching };
    const { history } = await run({ rollouts, objective, steps: 2 });
    expect(history.length).toBe(2);
    expect(seen).toBeGreaterThan(0.1);
    // What the trainer computes of the same tokens is what the sampler said of the policy.
    const recomputed = await run({ rollouts, objective, steps: 1, oldLogProbs: 'recomputed' });
    expect(recomputed.history[0]!.metrics['sampling/sampling_logp_difference/max']).toBeLessThan(1e-4);
  });
});

/** Gradients that are `factor` times others, and not 0. */
async function expectSame(found: Named, wanted: Named, factor = 1): Promise<void> {
  let largest = 0;
  for (const [name, gradient] of Object.entries(found)) {
    const expected = await wanted[name]!.toArray();
    (await gradient.toArray()).forEach((x, i) => {
      expect(Math.abs(x - factor * expected[i]!), `${name}[${i}]`).toBeLessThan(1e-5);
      largest = Math.max(largest, Math.abs(x));
    });
  }
  expect(largest).toBeGreaterThan(1e-3);
}

describe('raoBlackwellizedKl', () => {
  it('is the KL over the whole vocabulary, enumerated, with its gradient, at the temperature of the run', async () => {
    const [policy, reference] = [await toyModel(1), await toyModel(2)];
    const [temperature, beta] = [0.7, 0.5];
    const regulariser = raoBlackwellizedKl({ beta, reference });
    // Nothing but the regulariser: all advantages are 0.
    const parts = { ...policyObjectives.dapo(), advantage: noBaseline(), regularisers: [regulariser] };
    const { annotate, loss } = policyObjective(parts, { temperature });
    const sequences = [
      [0, 1, 2, 3, 7],
      [4, 5, 6],
    ];
    const rollouts = sequences.map((tokens, group): Rollout => {
      const completionTokens = tokens.slice(2);
      return {
        group,
        promptTokens: tokens.slice(0, 2),
        completionTokens,
        reward: 0,
        oldLogProbs: completionTokens.map(() => -1),
      };
    });
    const trainer = await Trainer.create(policy, { optimizer: sgd() });
    const { rows } = annotate(rollouts, { maxCompletionLength: 4 });
    const { gradients, loss: value, metrics } = await trainer.gradients(rows, loss);
    // Every next token of every state as a row of its own.
    const states = sequences.flatMap((tokens) => tokens.slice(2).map((_, t) => tokens.slice(0, 2 + t)));
    const next = states.flatMap((state) => Array.from({ length: 8 }, (_, token) => [...state, token]));
    const under = async (model: CausalLM) =>
      (await sequenceLogProbs(model, next, { temperature })).map(({ logProbs }) => logProbs.at(-1)!);
    const [ours, theirs] = [await under(policy), await under(reference)];
    const kl = ours.reduce((sum, own, i) => sum + Math.exp(own) * (own - theirs[i]!), 0) / states.length;
    expect([value, metrics.kl!].map((x) => x.toFixed(5))).toEqual([(beta * kl).toFixed(5), kl.toFixed(5)]);
    // ∇ KL = Σ p (log p - log q) ∇ log p, since Σ p ∇ log p = 0.
    const weighted = next.map((tokens, i): TrainingRow => {
      const weight = (-beta * Math.exp(ours[i]!) * (ours[i]! - theirs[i]!)) / states.length;
      return { tokens, weights: tokens.slice(1).map((_, t) => (t === tokens.length - 2 ? weight : 0)) };
    });
    await expectSame(
      gradients,
      (await trainer.gradients(weighted, { ...negativeLogLikelihood, temperature })).gradients,
    );
  });

  it('holds a policy to its reference in a run: of itself it is 0 before the first update, and the larger β the nearer it stays', async () => {
    const model = await toyModel(1);
    const last = async (beta: number) => {
      const regularisers = [raoBlackwellizedKl({ beta, reference: model })];
      const objective = { ...policyObjectives.dapo(), regularisers };
      const { history } = await run({ model, objective, steps: 6, schedule: 'constant' });
      expect(Math.abs(history[0]!.metrics.kl!)).toBeLessThan(1e-5);
      return history.at(-1)!.metrics.kl!;
    };
    expect(await last(3)).toBeLessThan((await last(0)) / 3);
  });
});

describe('echo', () => {
  it('has the gradient of α times the mean cross-entropy of what an environment said, and of nothing else', async () => {
    const [temperature, alpha] = [0.8, 0.25];
    const said = (tokens: readonly number[], mask: readonly number[], group: number): Rollout => ({
      ...{ group, promptTokens: [0, 1], completionTokens: tokens, mask, reward: 0, oldLogProbs: tokens.map(() => -1) },
    });
    // The last one was cut off, and is masked whole: none of it is an observation.
    const rollouts = [said([2, 3, 4, 7], [1, 0, 0, 1], 0), said([5, 6, 1], [1, 0, 1], 1), said([3, 3], [0, 0], 2)];
    const parts = { ...policyObjectives.dapo(), advantage: noBaseline(), regularisers: [echo({ alpha })] };
    const { annotate, loss } = policyObjective(parts, { temperature });
    const { rows } = annotate(rollouts, { maxCompletionLength: 4 });
    const trainer = await Trainer.create(await toyModel(1), { optimizer: sgd() });
    const found = await trainer.gradients(rows, loss);
    const observations = rollouts.slice(0, 2).map(
      ({ promptTokens, completionTokens, mask }): TrainingRow => ({
        tokens: [...promptTokens, ...completionTokens],
        weights: [0, ...Array.from(mask!, (trained) => (trained ? 0 : 1 / 3))],
      }),
    );
    const wanted = await trainer.gradients(observations, { ...negativeLogLikelihood, temperature });
    expect(found.metrics['echo/nll']).toBeCloseTo(wanted.loss, 5);
    expect(found.loss).toBeCloseTo(alpha * wanted.loss, 5);
    await expectSame(found.gradients, wanted.gradients, alpha);
  });
});

describe('a field that others have brought', () => {
  const certainty = rolloutField('acme.certainty', { per: 'token' });
  const annotator: Annotator = {
    ...{ name: 'acme', settings: {}, gives: [certainty.need] },
    annotate: async (rollouts) =>
      rollouts.map((one) =>
        certainty.on(
          one,
          one.completionTokens.map((_, t) => 2 ** -t),
        ),
      ),
  };
  const advantage = {
    ...{ name: 'certain', settings: {}, needs: [certainty.need] },
    compute: (rollouts: readonly Rollout[]) =>
      rollouts.map((one) => Array.from(certainty.of(one), (x) => x * one.reward!)),
  };
  const observed: Regulariser = {
    ...{ name: 'observed', settings: {}, needsReference: false, annotations: ['acme_certainty'] },
    annotate: (one) => ({ acme_certainty: certainty.of(one) }),
    compute: ({ annotations, tokenMean }) => ({
      metrics: { certainty: annotations.acme_certainty!.mul(tokenMean).sum() },
    }),
  };

  it('goes from an annotator of theirs to their advantage and their regulariser', async () => {
    const seen: (readonly [Rollout, unknown])[] = [];
    const rows: RowSource = {
      ...{ name: 'rows', settings: {}, next: ({ count }) => prompts.slice(0, count).map((row) => ({ row })) },
      feedback: (all, { advantages, step }) => {
        expect(step).toBe(0);
        all.forEach((one, i) => void seen.push([one, advantages[i]]));
      },
      ...{ state: () => 0, load: () => {} },
    };
    const objective = { ...policyObjectives.dapo(), advantage, annotators: [annotator], regularisers: [observed] };
    const { history } = await run({ objective, rows, steps: 1 });
    expect(seen.length).toBe(8);
    for (const [one, own] of seen) expect(own).toEqual(one.completionTokens.map((_, t) => 2 ** -t * one.reward!));
    const all = seen.flatMap(([one]) => one.completionTokens.map((_, t) => 2 ** -t));
    expect(history[0]!.metrics.certainty).toBeCloseTo(all.reduce((a, b) => a + b) / all.length, 5);
  });

  it('has as many numbers as it is declared with, and is named where it is missing', () => {
    const one: Pick<Rollout, 'extras' | 'completionTokens'> = { completionTokens: [1, 2] };
    const top = rolloutField('acme.top', { per: 'token', width: 3 });
    expect(top.of(top.on(one, [1, 2, 3, 4, 5, 6]))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(() => top.on(one, [1, 2])).toThrow(/extras.acme.top: it must have 6 numbers, 3 for each token/);
    expect(() => certainty.of({})).toThrow(/extras.acme.certainty: the rollout does not have it/);
    expect(() => rolloutField('acme.top', { per: 'rollout' }).of(top.on(one, [1, 2, 3, 4, 5, 6]))).toThrow(/no number/);
  });
});
