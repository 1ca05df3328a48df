import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { currentEngine, setEngine } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { sgd } from '@posttrain/core-tensor/optim';
import { CausalLM, loadWeights, NO_ADAPTER, sequenceLogProbs, ValueModel } from '@posttrain/lm';
import { loadAdapter, type PeftAdapter } from '@posttrain/peft';
import { type AnyLoss, predictions, Trainer, type TrainingRow } from '@posttrain/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  annotatePairs,
  dpoLoss,
  gaeSteps,
  liftPreferenceLoss,
  minimumRisk,
  missingEosPenalty,
  noBaseline,
  policyObjective,
  policyObjectives,
  type Rollout,
  type ScoredRollout,
  scoreCompletions,
  type TokenizedPair,
  valueModelCritic,
} from '../src/index.js';
import { expectClose, type Grid, goldenFolder, readGolden } from './goldens.js';
import { tokenizer } from './toy.js';

interface Facts {
  readonly loss: number;
  readonly metrics: Record<string, number>;
}
const facts = readGolden<Record<'grpo' | 'dpo', Facts>>('with-model.json');

let model: CausalLM;
let adapter: PeftAdapter;
const golden = new Map<string, { data: ArrayLike<number>; shape: readonly number[] }>();

beforeAll(async () => {
  const folder = join(goldenFolder, 'models/llama');
  model = new CausalLM({ ...(await loadWeights(folder)), tokenizer, name: 'llama' });
  adapter = await loadAdapter(model, join(goldenFolder, 'lora/llama-default'));
  const file = await openSafetensors(join(goldenFolder, 'rl/with-model.safetensors'));
  for (const name of file.tensors.keys()) golden.set(name, await file.read(name));
  await file.close();
});

const grid = (name: string): number[][] => {
  const { data, shape } = golden.get(name)!;
  const [b, s] = shape as [number, number];
  return Array.from({ length: b }, (_, i) => Array.from({ length: s }, (__, t) => data[i * s + t]!));
};
/** The entries of each row where the mask is 1: what is left when padding is gone. */
const unpadded = (name: string, mask: number[][]) =>
  grid(name).map((row, i) => row.filter((_, t) => mask[i]![t] === 1));

/** Loss, metrics and gradient: with plain SGD at rate 1 the update is the negative gradient. */
async function run(rows: readonly TrainingRow[], loss: AnyLoss) {
  const trainer = await Trainer.create(model, { optimizer: sgd(), adapter, maxGradNorm: 0 });
  const result = await trainer.forwardBackward(rows, loss);
  await trainer.optimStep({ learningRate: 1 });
  const gradient: Record<string, number[]> = {};
  for (const [name, after] of Object.entries(trainer.parameters)) {
    const before = await adapter.parameters[name]!.toArray();
    gradient[name] = (await after.toArray()).map((value, i) => before[i]! - value);
  }
  return { ...result, gradient };
}

function compare(result: Awaited<ReturnType<typeof run>>, prefix: 'grpo' | 'dpo', skipped?: RegExp): void {
  expectClose([result.loss], [facts[prefix].loss], 1e-5, 'loss');
  for (const [name, gradient] of Object.entries(result.gradient)) {
    const expected = Array.from(golden.get(`${prefix}.gradient.base_model.model.${name}`)!.data);
    expectClose(gradient, expected, 2e-5, name);
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(1e-4);
  }
  for (const [name, value] of Object.entries(facts[prefix].metrics)) {
    if (!skipped?.test(name)) expectClose([result.metrics[name]!], [value], 1e-4, name);
  }
}

describe('through a real model with an adapter, the reference being the adapter off', () => {
  it('GRPO has the loss, metrics and gradients of TRL', async () => {
    const temperature = 0.7;
    const prompts = unpadded('grpo.prompt_ids', grid('grpo.prompt_mask'));
    const mask = grid('grpo.completion_mask');
    const completions = unpadded('grpo.completion_ids', mask);
    const sequences = prompts.map((prompt, i) => [...prompt, ...completions[i]!]);
    const under = async (policy: typeof adapter | typeof NO_ADAPTER) => {
      const scored = await sequenceLogProbs(model, sequences, { adapter: policy, temperature });
      return scored.map(({ logProbs }, i) => Array.from(logProbs.subarray(prompts[i]!.length - 1)));
    };
    const reference = await under(NO_ADAPTER);
    expectClose((await under(adapter)).flat(), unpadded('grpo.logps', mask).flat(), 1e-4, 'logps');
    expectClose(reference.flat(), unpadded('grpo.ref_per_token_logps', mask).flat(), 1e-4, 'reference');

    const advantages = Array.from(golden.get('grpo.advantages')!.data);
    const old = unpadded('grpo.old_per_token_logps', mask);
    const objective = policyObjective(
      { ...policyObjectives.grpo({ beta: 0.05 }), advantage: { name: 'given', compute: () => advantages } },
      { temperature },
    );
    const rollouts = prompts.map(
      (promptTokens, i): Rollout => ({
        group: 0,
        promptTokens,
        completionTokens: completions[i]!,
        reward: 0,
        oldLogProbs: old[i]!,
        referenceLogProbs: reference[i]!,
      }),
    );
    const { rows } = objective.annotate(rollouts, { maxCompletionLength: 6 });
    compare(await run(rows, objective.loss), 'grpo');
  });

  it('DPO has the loss, metrics and gradients of TRL', async () => {
    const attention = grid('dpo.attention_mask');
    const ids = unpadded('dpo.input_ids', attention);
    const starts = grid('dpo.completion_mask').map((row) => row.indexOf(1));
    const pairs = [0, 1].map(
      (i): TokenizedPair => ({
        promptTokens: ids[i]!.slice(0, starts[i]),
        chosenTokens: ids[i]!.slice(starts[i]),
        rejectedTokens: ids[i + 2]!.slice(starts[i + 2]),
      }),
    );
    const scored = await sequenceLogProbs(model, ids);
    const reference = (i: number) => scored[i]!.logProbs.subarray(starts[i]! - 1);
    const rows = annotatePairs(
      pairs.map((pair, i) => ({ ...pair, reference: { chosen: reference(i), rejected: reference(i + 2) } })),
    );
    const result = await run(rows, liftPreferenceLoss(dpoLoss()));
    compare(result, 'dpo', /^logits\/|num_tokens/);
    expect(result.tokens).toBe(facts.dpo.metrics.num_tokens);
  });
});

interface PpoCase {
  readonly options: {
    readonly cliprange: number;
    readonly cliprange_value: number;
    readonly temperature: number;
    readonly whiten_rewards: boolean;
    readonly kl_coef: number;
    readonly kl_estimator: 'k1' | 'k3';
    readonly gamma: number;
    readonly lam: number;
    readonly vf_coef: number;
    readonly missing_eos_penalty: number | null;
  };
  readonly raw_scores: readonly number[];
  readonly scores: readonly number[];
  readonly rewards: Grid;
  readonly advantages: Grid;
  readonly returns: Grid;
  readonly values: Grid;
  readonly logprobs: Grid;
  readonly ref_logprobs: Grid;
  readonly epochs: readonly { readonly pg_loss: number; readonly vf_loss: number; readonly vf_clipfrac: number }[];
}

describe("PPO has what a batch of TRL's PPOTrainer has, through a policy and a value model,", () => {
  const { prompts, responses, rate, cases } = readGolden<{
    readonly prompts: Grid;
    readonly responses: Grid;
    readonly rate: number;
    readonly cases: Readonly<Record<'plain' | 'whitened', PpoCase>>;
  }>('../ppo/expected.json');
  const sequences = prompts.map((prompt, i) => [...prompt, ...responses[i]!]);
  const folder = join(goldenFolder, 'ppo');
  const load = async (name: 'policy' | 'value') => ({
    ...(await loadWeights(join(folder, name))),
    ...{ tokenizer, name },
  });
  const mean = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  /** The last update of plain SGD, as a gradient. */
  const expectGradient = async (file: string, before: Trainer['parameters'], after: Trainer['parameters']) => {
    const opened = await openSafetensors(join(folder, file));
    for (const name of opened.tensors.keys()) {
      const { data } = await opened.read(name);
      const own = name.slice('gradient.'.length);
      const [a, b] = [await before[own]!.toArray(), await after[own]!.toArray()];
      const largest = Math.max(1, ...Array.from(data as Float32Array, Math.abs));
      const found = a.map((value, i) => (value - b[i]!) / rate);
      expectClose(found, Array.from(data), 1e-4 * largest, `${file} ${name}`);
    }
    await opened.close();
  };

  it.each(['plain', 'whitened'] as const)('%s', async (name) => {
    const test = cases[name];
    const { temperature, missing_eos_penalty: penalty, ...options } = test.options;
    const [policy, value] = [new CausalLM(await load('policy')), new ValueModel(await load('value'))];
    const sgdAt = { optimizer: sgd(), maxGradNorm: 0 };
    const [shorter, critic] = await Promise.all(
      [2, 3].map((iterationsPerBatch) =>
        valueModelCritic(value, {
          ...{ ...sgdAt, iterationsPerBatch, learningRate: rate },
          ...{ cliprangeValue: options.cliprange_value, vfCoef: options.vf_coef },
        }),
      ),
    );
    const parts = policyObjectives.ppo({
      ...{ critic: critic!, gamma: options.gamma, lambda: options.lam, whitenRewards: options.whiten_rewards },
      ...{ endState: true, epsilon: options.cliprange, beta: options.kl_coef, klEstimator: options.kl_estimator },
    });

    const finishReasons = responses.map((tokens): 'stop' | 'length' => (tokens.at(-1) === 7 ? 'stop' : 'length'));
    const toScore = responses.map((completionTokens, i) => ({
      ...{
        text: String(i),
        prompt: '',
        row: { prompt: '' },
        completionTokens,
        finishReason: finishReasons[i]!,
        step: 0,
      },
    }));
    const rewards = await scoreCompletions(
      {
        score: (text: string) => test.raw_scores[Number(text)]!,
        ...(penalty !== null && { eos: missingEosPenalty({ penalty }) }),
      },
      toScore,
    );
    expectClose(rewards.rewards as number[], test.scores, 1e-6, 'scores');

    const scored = await sequenceLogProbs(policy, sequences, { temperature });
    const logProbs = scored.map(({ logProbs: all }, i) => Array.from(all.subarray(prompts[i]!.length - 1)));
    const expected = test.logprobs.map((row, i) => row.slice(0, responses[i]!.length));
    expectClose(logProbs.flat(), expected.flat(), 2e-5, 'logprobs');
    const [annotator] = parts.annotators!;
    const rollouts = await annotator!.annotate(
      responses.map((completionTokens, i) => ({
        ...{ group: i, row: { prompt: '' }, text: '', rewards: {}, completionTokens, promptTokens: prompts[i]! },
        ...{ reward: rewards.rewards[i]!, finishReason: finishReasons[i]!, samplerLogProbs: logProbs[i]! },
        referenceLogProbs: test.ref_logprobs[i]!.slice(0, completionTokens.length),
      })) as readonly ScoredRollout[],
      {} as never,
    );
    const objective = policyObjective(parts, { temperature });
    const annotated = objective.annotate(
      rollouts.map((rollout) => ({ ...rollout, oldLogProbs: rollout.samplerLogProbs })),
      { maxCompletionLength: 6 },
    );
    gaeSteps(annotated.rollouts, {
      ...{ gamma: options.gamma, lambda: options.lam, whitenRewards: options.whiten_rewards, endState: true },
    }).forEach(({ values, rewards: paid, advantages }, i) => {
      expect(values.length).toBe(responses[i]!.length + (finishReasons[i] === 'stop' ? 1 : 0));
      const cut = (grid: Grid) => grid[i]!.slice(0, values.length);
      expectClose(values, cut(test.values), 1e-5, 'values');
      expectClose(paid, cut(test.rewards), 2e-5, 'rewards');
      const returns = advantages.map((advantage, t) => advantage + values[t]!);
      expectClose(returns, cut(test.returns), 5e-5, 'returns');
    });
    annotated.advantages.forEach((own, i) => {
      const wanted = test.advantages[i]!.slice(0, responses[i]!.length);
      expectClose(Array.from(own as ArrayLike<number>), wanted, 5e-5, 'advantages');
    });

    const trainer = await Trainer.create(policy, sgdAt);
    let before = trainer.parameters;
    for (const { pg_loss } of test.epochs) {
      before = await trainer.copyParameters();
      const { loss } = await trainer.forwardBackward(annotated.rows, objective.loss);
      expectClose([loss], [pg_loss], 1e-4, 'pg_loss');
      await trainer.optimStep({ learningRate: rate });
    }
    await expectGradient(`${name}-policy-gradients.safetensors`, before, trainer.parameters);

    const metrics = (await annotator!.learn!(annotated.rollouts, annotated.advantages, {} as never))!;
    const average = (of: 'vf_loss' | 'vf_clipfrac') => mean(test.epochs.map((epoch) => epoch[of]));
    expectClose([metrics['loss/value_avg']!], [average('vf_loss')], 1e-4, 'vf_loss');
    expectClose([metrics['val/clipfrac_avg']!], [average('vf_clipfrac')], 1e-5, 'vf_clipfrac');
    await policyObjectives.ppo({
      ...{ critic: shorter!, gamma: options.gamma, lambda: options.lam, whitenRewards: options.whiten_rewards },
      endState: true,
    }).annotators![0]!.learn!(annotated.rollouts, annotated.advantages, {} as never);
    const [two, three] = [shorter!.trainer.parameters, critic!.trainer.parameters];
    // TRL's gradient is of the sum that the coefficient is in, as ours.
    await expectGradient(`${name}-value-gradients.safetensors`, two, three);
  });
});

describe('TRPO', () => {
  const before = currentEngine();
  // Conjugate gradients amplify rounding (by another engine the KL moves by 2e-3 of itself): in one arithmetic, whatever kernels are there.
  beforeAll(() => setEngine(onnxruntimeEngine({ cpuKernels: 'off' })));
  afterAll(() => setEngine(before));

  interface Update {
    readonly prompt: number;
    readonly sequences: readonly number[][];
    readonly rewards: readonly number[];
    readonly shown: readonly string[];
    readonly options: Readonly<Record<'temperature' | 'max_kl' | 'damping' | 'iterations', number>>;
    readonly trpo: Readonly<
      Record<'step_norm' | 'gradient_norm' | 'surrogate_before' | 'surrogate_after' | 'divergence_after', number>
    >;
  }

  it('takes the step of conjugate gradients on the exact Fisher information, as NumPy makes it', async () => {
    const {
      prompt,
      sequences,
      rewards,
      shown,
      options,
      trpo: expected,
    } = readGolden<Update>('../updates/updates.json');
    const { temperature, max_kl: maxKl, damping, iterations: cgIterations } = options;
    const file = await openSafetensors(join(goldenFolder, 'updates/updates.safetensors'));
    const steps = await Promise.all(
      shown.map(async (name) => Array.from((await file.read(`step.${name}`)).data as Float32Array)),
    );
    await file.close();
    const base = new CausalLM({ ...(await loadWeights(join(goldenFolder, 'models/llama'))), tokenizer, name: 'llama' });
    const trainer = await Trainer.create(base, { optimizer: sgd() });
    const plain = sequences.map((tokens): TrainingRow => ({ tokens, weights: tokens.slice(1).map(() => 1) }));
    const { logProbs } = await trainer.read(plain, predictions({ temperature }));
    const rollouts = sequences.map((tokens, i): Rollout => {
      const completionTokens = tokens.slice(prompt);
      const oldLogProbs = Array.from(logProbs[i]!.subarray(prompt - 1));
      return { group: i, promptTokens: tokens.slice(0, prompt), completionTokens, reward: rewards[i]!, oldLogProbs };
    });
    const parts = { ...policyObjectives.trpo({ maxKl, damping, cgIterations }), advantage: noBaseline() };
    const objective = policyObjective(parts, { temperature });
    const { rows } = objective.annotate(rollouts, { maxCompletionLength: 8 });
    const before = await Promise.all(shown.map((name) => trainer.parameters[name]!.toArray()));
    const result = await parts.update!.update(trainer, rows, objective.loss, { learningRate: 0 });
    const { 'trpo/kl': kl, 'trpo/surrogate_change': change, 'trpo/step': length } = result.metrics;
    expect([trainer.step, length]).toEqual([1, 1]);
    expectClose([result.loss], [-expected.surrogate_before], 1e-6, 'surrogate');
    expectClose([result.gradNorm], [expected.gradient_norm], 1e-4, 'gradient');
    expectClose([kl!], [expected.divergence_after], 1e-3 * expected.divergence_after, 'kl');
    expectClose([change!], [expected.surrogate_before - expected.surrogate_after], 1e-3, 'change');
    const expectStep = async (of: Trainer) => {
      for (const [i, name] of shown.entries()) {
        const moved = (await of.parameters[name]!.toArray()).map((x, j) => x - before[i]![j]!);
        expectClose(moved, steps[i]!, 3e-3 * Math.max(...steps[i]!.map(Math.abs)), name);
      }
    };
    await expectStep(trainer);
    // The natural policy gradient of that length, of a loss whose gradient alone is right.
    const natural = policyObjectives.natural_policy_gradient({ normalizedKl: maxKl, damping, cgIterations });
    const own = policyObjective({ ...natural, advantage: noBaseline() }, { temperature });
    const other = await Trainer.create(base, { optimizer: sgd() });
    const { rows: plainRows } = own.annotate(rollouts, { maxCompletionLength: 8 });
    const { metrics } = await natural.update!.update(other, plainRows, own.loss, { learningRate: 0 });
    expectClose([metrics['natural/kl']!], [expected.divergence_after], 1e-3 * expected.divergence_after, 'kl');
    await expectStep(other);
  });
});

it('minimum risk training is what torch makes of the formula, value and gradient, however a step is split', async () => {
  const text = readFileSync(join(goldenFolder, 'losses/minimum-risk.json'), 'utf8');
  const expected = JSON.parse(text) as {
    readonly sequences: readonly number[][];
    readonly untrained: number;
    readonly groups: readonly number[];
    readonly risks: readonly number[];
    readonly alpha: number;
    readonly loss: number;
    readonly norm: readonly number[];
  };
  const { sequences, untrained, groups, risks, alpha } = expected;
  const rows = sequences.map((tokens, i) => ({
    tokens,
    weights: tokens.slice(1).map((_, t) => (t < untrained ? 0 : 1 / new Set(groups).size)),
    group: groups[i]!,
    annotations: { risks: [risks[i]!] },
  }));
  for (const maxTokensPerPass of [4096, 1]) {
    const trainer = await Trainer.create(model, { optimizer: sgd(), maxTokensPerPass });
    const { loss } = await trainer.forwardBackward(rows, minimumRisk({ alpha }));
    expectClose([loss], [expected.loss], 1e-6);
    const { 'model.norm.weight': gradient } = await trainer.takeGradients();
    expectClose(await gradient!.toArray(), expected.norm, 1e-6);
  }
});
