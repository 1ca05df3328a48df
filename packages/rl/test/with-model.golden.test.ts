import { join } from 'node:path';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { sgd } from '@posttrain/core-tensor/optim';
import { CausalLM, loadWeights, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { loadAdapter, type PeftAdapter } from '@posttrain/peft';
import { predictions, type TokenLoss, Trainer, type TrainingRow } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  annotatePairs,
  dpoLoss,
  noBaseline,
  policyObjective,
  policyObjectives,
  preferenceTokenLoss,
  type Rollout,
  type TokenizedPair,
} from '../src/index.js';
import { expectClose, goldenFolder, readGolden } from './goldens.js';
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
async function run(rows: readonly TrainingRow[], loss: TokenLoss) {
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
    const result = await run(rows, preferenceTokenLoss(dpoLoss()));
    compare(result, 'dpo', /^logits\/|num_tokens/);
    expect(result.tokens).toBe(facts.dpo.metrics.num_tokens);
  });
});

describe('TRPO', () => {
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
    for (const [i, name] of shown.entries()) {
      const moved = (await trainer.parameters[name]!.toArray()).map((x, j) => x - before[i]![j]!);
      expectClose(moved, steps[i]!, 3e-3 * Math.max(...steps[i]!.map(Math.abs)), name);
    }
  });
});
