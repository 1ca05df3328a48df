import { sequenceLogProbs, ValueModel } from '@posttrain/lm';
import {
  gaeSteps,
  type PromptRow,
  policyObjective,
  policyObjectives,
  rollOut,
  valueLoss,
  valueRows,
} from '@posttrain/rl';
import { RowOrder, Trainer } from '@posttrain/training';
import type { Conversation, PpoLoop } from './options.js';

/** Proximal Policy Optimization (arXiv 1707.06347) with a value model: what `trainPolicy` does, without what is the same in every run. */
export async function ppoLoop<Row extends PromptRow & Conversation>(options: PpoLoop<Row>): Promise<Trainer> {
  const { model, rows, rewards, beta, discounts, steps, promptsPerStep, completionsPerPrompt, seed } = options;
  const policy = await Trainer.create(model, { adapter: options.adapter, seed, optimizer: 'adamw_torch' });
  const critic = await Trainer.create(await ValueModel.fromCausalLM(model, { seed }), { optimizer: 'adamw_torch' });
  // Its annotators would ask a critic; here that is what the loop does.
  const unasked = { name: 'the loop', values: async () => [] };
  const { loss, annotate } = policyObjective(policyObjectives.ppo({ critic: unasked, beta, ...discounts }));
  const order = new RowOrder(rows.length, seed);

  for (let step = 0; step < steps; step++) {
    const chosen = Array.from({ length: promptsPerStep }, (_, i) => rows[order.at(step * promptsPerStep + i)]!);
    const sampler = { model: policy.model, adapter: policy.adapter };
    const settings = { completionsPerPrompt, maxCompletionLength: options.maxTokens, seed, step };
    const sampled = await rollOut({ ...sampler, ...settings, rows: chosen, rewards });

    // The reference, and the values of all states.
    const sequences = sampled.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
    const reference = await sequenceLogProbs(model, sequences);
    const values = await critic.model.values(sequences);
    const rollouts = sampled.map((rollout, i) => {
      const before = rollout.promptTokens.length - 1;
      const states = { values: values[i]!.slice(before, -1), endValue: values[i]!.at(-1)! };
      return { ...rollout, ...states, referenceLogProbs: reference[i]!.logProbs.subarray(before) };
    });

    // Advantages by GAE, and the clipped surrogate.
    const { rows: annotated, rollouts: paid } = annotate(rollouts, { maxCompletionLength: options.maxTokens });
    let value = 0;
    for (let epoch = 0; epoch < options.epochs; epoch++) {
      const update = step * options.epochs + epoch;
      const result = await policy.forwardBackward(annotated, loss);
      value += result.loss / options.epochs;
      await policy.optimStep({ learningRate: options.learningRate * (1 - update / (steps * options.epochs)) });
    }

    // The critic learns the returns R = A + V.
    const examples = gaeSteps(paid, discounts).map(({ at, values: old, advantages }, i) => {
      const returns = advantages.map((advantage, t) => advantage + old[t]!);
      return { tokens: sequences[i]!, at: at.map((t) => paid[i]!.promptTokens.length - 1 + t), returns, values: old };
    });
    const [squared, states] = [valueLoss(), valueRows(examples)];
    for (let epoch = 0; epoch < options.epochs; epoch++) {
      await critic.forwardBackward(states, squared);
      await critic.optimStep({ learningRate: options.learningRate });
    }
    options.onStep?.(step, value, sampled.reduce((sum, { reward }) => sum + (reward ?? 0), 0) / sampled.length);
  }
  return policy;
}
