import { join } from 'node:path';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { sgd } from '@posttrain/core-tensor/optim';
import { CausalLM, loadWeights, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { loadAdapter, type PeftAdapter } from '@posttrain/peft';
import { type TokenLoss, Trainer, type TrainingRow } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  annotatePairs,
  dpoLoss,
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
