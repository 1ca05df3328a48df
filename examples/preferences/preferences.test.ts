import { join } from 'node:path';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { pipeline } from './pipeline.js';
import { byChance, drawPairs, type Judged, judge, LOSSES, loadModel, sums, trainWith } from './preferences.js';

it('draws pairs whose chosen answer is right and whose rejected one is not', async () => {
  const rows = sums(6, 1);
  const pairs = await drawPairs(await loadModel(), rows);
  expect(pairs.length).toBeGreaterThan(3);
  for (const { prompt, chosen, rejected } of pairs) {
    const { answer } = rows.find((row) => row.prompt === prompt)!;
    expect(chosen).toBe(answer);
    expect((rejected as string).trim()).not.toBe(answer);
  }
});

it('the pipeline of SFT, reward model and DPO has an answer of every arm, and SFT is what teaches the task', async () => {
  const sizes = { shown: 24, labelled: 10, unlabelled: 4, heldOut: 8, samples: 4 };
  const { reward, ...chances } = await pipeline(await loadModel(), 1, sizes);
  for (const [arm, chance] of Object.entries(chances))
    expect(chance >= 0 && chance <= 1, `${arm} ${chance}`).toBe(true);
  expect(chances.sft).toBeGreaterThan(chances.base + 0.2);
  expect(chances['sft+dpo']).not.toBe(chances.sft);
  expect(chances['sft+rm+dpo']).toBeGreaterThan(chances['rm+dpo']);
  expect(reward).toBeLessThanOrEqual(1);
});

describe('what is trained on pairs is judged by an evaluation', () => {
  // Small and random, as there is a training for every loss.
  let model: CausalLM;
  let before: Judged;
  const rows = sums(8, 3);
  const pairs = rows.flatMap(({ prompt, answer }) =>
    [1, -10, 10].map((slip) => ({ prompt, chosen: answer, rejected: String(Number(answer) + slip) })),
  );
  beforeAll(async () => {
    const tokenizer = await Tokenizer.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
    const config = parseModelConfig({
      ...{ model_type: 'llama', vocab_size: 103, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 },
      ...{ num_attention_heads: 2, max_position_embeddings: 64, initializer_range: 0.2, eos_token_id: 5 },
    });
    model = await CausalLM.initialize({ config, tokenizer, name: 'small' }, 1);
    before = await judge(model, rows);
  });

  // Both lower, or raise, the likelihood of all results first.
  const slow: readonly string[] = ['apo_down', 'orpo'];

  it.each(LOSSES)('%s: right results become more likely than others', async (name) => {
    const { gain, losses } = await trainWith(name, {
      model,
      pairs,
      heldOut: rows,
      before,
      learningRate: 0.01,
      epochs: slow.includes(name) ? 16 : 3,
    });
    // WPO's weights grow with the likelihood of the pairs, and the loss with them.
    if (name !== 'wpo') expect(losses.at(-1)!).toBeLessThan(losses[0]!);
    expect(gain.interval![0], String(gain.difference)).toBeGreaterThan(0);
  });

  it('from pairs that are chosen by a coin less is learnt', async () => {
    const shared = { model, heldOut: rows, before, learningRate: 0.01, epochs: 3 };
    const { gain } = await trainWith('sigmoid', { ...shared, pairs });
    const { gain: control } = await trainWith('sigmoid', { ...shared, pairs: byChance(pairs, 1) });
    expect(control.difference).toBeLessThan(gain.difference / 2);
  });
});
