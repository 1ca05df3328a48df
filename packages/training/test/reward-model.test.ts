import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { adamW, sgd } from '@posttrain/core-tensor/optim';
import { loadWeights, SequenceClassifier } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { bradleyTerry, rewardRows, Trainer } from '../src/index.js';
import { expectClose } from './model.js';

const goldens = join(import.meta.dirname, '../../../goldens');
const golden = JSON.parse(readFileSync(join(goldens, 'losses/reward.json'), 'utf8')) as {
  sequences: number[][];
  cases: {
    margin: number[] | null;
    center_rewards_coefficient: number | null;
    loss: number;
    score: number[];
    norm: number[];
    metrics: Record<string, number>;
  }[];
};

beforeAll(() => setEngine(referenceEngine()));

async function rewardModel(): Promise<SequenceClassifier> {
  const { config, weights, network } = await loadWeights(join(goldens, 'heads/llama-reward'));
  return new SequenceClassifier({
    tokenizer: (await tinyModel('llama')).tokenizer,
    config,
    weights,
    network,
    name: 'reward',
  });
}

const pairsOf = (sequences: readonly (readonly number[])[], margin?: readonly number[] | null) =>
  Array.from({ length: sequences.length / 2 }, (_, i) => ({
    chosenTokens: sequences[2 * i]!,
    rejectedTokens: sequences[2 * i + 1]!,
    ...(margin && { margin: margin[i]! }),
  }));

describe('bradleyTerry', () => {
  it.each(golden.cases)(
    'is TRL’s loss, gradient and metrics: margin $margin, η $center_rewards_coefficient',
    async (expected) => {
      const trainer = await Trainer.create(await rewardModel(), { optimizer: sgd() });
      const rows = rewardRows(pairsOf(golden.sequences, expected.margin));
      const { center_rewards_coefficient: centerRewardsCoefficient } = expected;
      const loss = bradleyTerry(centerRewardsCoefficient === null ? {} : { centerRewardsCoefficient });
      const result = await trainer.forwardBackward(rows, loss);
      const gradients = await trainer.takeGradients();
      expect(result.loss).toBeCloseTo(expected.loss, 6);
      expectClose(await gradients['score.weight']!.toArray(), expected.score);
      expectClose(await gradients['model.norm.weight']!.toArray(), expected.norm);
      for (const [name, value] of Object.entries(result.metrics))
        expect(value, name).toBeCloseTo(expected.metrics[name]!, 5);
      expect(Object.keys(result.metrics).sort()).toEqual(Object.keys(expected.metrics).sort());
    },
  );

  it('is the same in one pass and in three, of which two are padded', async () => {
    const rows = rewardRows(pairsOf(golden.sequences, [0.5, -0.25, 0]));
    const loss = bradleyTerry({ centerRewardsCoefficient: 0.05 });
    const numbers = async (maxTokensPerPass: number) => {
      const trainer = await Trainer.create(await rewardModel(), { optimizer: sgd(), maxTokensPerPass });
      const result = await trainer.forwardBackward(rows, loss);
      const { 'model.norm.weight': norm } = await trainer.takeGradients();
      return [result.loss, ...Object.values(result.metrics), ...(await norm!.toArray())];
    };
    expectClose(await numbers(4096), await numbers(16));
  });

  it('learns the log-odds of what is preferred: the maximum of the likelihood of counts', async () => {
    // Of two answers the first is preferred three times of four, so r₁ - r₂ = log 3 at the optimum.
    const model = await SequenceClassifier.fromCausalLM(await tinyModel('llama', 3));
    const trainer = await Trainer.create(model, { optimizer: adamW(), maxGradNorm: 0 });
    const [a, b] = [
      [5, 6, 7],
      [5, 9, 4],
    ] as const;
    const pair = (chosenTokens: readonly number[], rejectedTokens: readonly number[]) => ({
      chosenTokens,
      rejectedTokens,
    });
    const rows = rewardRows([pair(a, b), pair(a, b), pair(a, b), pair(b, a)]);
    const loss = bradleyTerry();
    for (let step = 0; step < 60; step++) {
      await trainer.forwardBackward(rows, loss);
      await trainer.optimStep({ learningRate: step < 40 ? 0.01 : 0.002 });
    }
    const trained: SequenceClassifier = trainer.model;
    const [[first], [second]] = (await trained.logits([[...a], [...b]])) as [Float32Array, Float32Array];
    expect(Math.abs(first! - second! - Math.log(3))).toBeLessThan(0.02);
  });

  it('does not see a constant that is added to all rewards, but for η', async () => {
    const lossAt = async (shift: number, centerRewardsCoefficient = 0) => {
      const rewards = tensor(
        Float32Array.from([0.3, -1.1, 2, 0.4], (r) => r + shift),
        [4, 1],
      );
      const inputs = {
        weights: tensor(Float32Array.from([0.5, 0.5, 0.5, 0.5]), [4, 1]),
        segments: tensor(new Int32Array(8).fill(1), [4, 2], 'int32'),
        annotations: { margin: tensor(Float32Array.from([0, 0, 0.5, 0.5]), [4]) },
        scalars: {},
      };
      return bradleyTerry({ centerRewardsCoefficient })
        .computeFrom(() => rewards as never, inputs)
        .loss.item();
    };
    expect(await lossAt(10)).toBeCloseTo(await lossAt(0), 5);
    expect(await lossAt(10, 0.1)).toBeGreaterThan((await lossAt(0, 0.1)) + 10);
  });

  it('trains an adapter and the head beside a frozen trunk', async () => {
    const model = await SequenceClassifier.fromCausalLM(await tinyModel('llama', 3));
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj'] });
    const trainer = await Trainer.create(model, { optimizer: adamW(), adapter });
    const rows = rewardRows([{ chosenTokens: [5, 6, 7], rejectedTokens: [5, 9, 4] }]);
    const losses: number[] = [];
    for (let step = 0; step < 8; step++) {
      losses.push((await trainer.forwardBackward(rows, bradleyTerry())).loss);
      await trainer.optimStep({ learningRate: 0.05 });
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
    expect(trainer.model).toBe(model);
  });

  it('refuses packed rows, several outputs, and models without a head', async () => {
    const rows = rewardRows([{ chosenTokens: [5, 6, 7], rejectedTokens: [5, 9, 4] }]);
    const causal = await tinyModel('llama', 3);
    const trainer = await Trainer.create(causal, { optimizer: adamW() });
    await expect(trainer.forwardBackward(rows, bradleyTerry())).rejects.toThrow(/causal language model without a head/);
    const packed = rows.map((row) => ({ ...row, lengths: [2, 1] }));
    await expect(trainer.forwardBackward(packed, bradleyTerry())).rejects.toThrow(/row 0: packs 2 sequences/);
    expect(() => bradleyTerry({ centerRewardsCoefficient: -1 })).toThrow(/centerRewardsCoefficient/);
  });
});
