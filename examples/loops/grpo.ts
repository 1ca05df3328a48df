import { sequenceLogProbs } from '@posttrain/lm';
import { type PromptRow, policyObjective, policyObjectives, rollOut } from '@posttrain/rl';
import { RowOrder, Trainer } from '@posttrain/training';
import type { Conversation, PolicyLoop } from './options.js';

/** Group Relative Policy Optimization (arXiv 2402.03300): what `trainPolicy` does, without what is the same in every run. */
export async function grpoLoop<Row extends PromptRow & Conversation>(options: PolicyLoop<Row>): Promise<Trainer> {
  const { model, adapter, rows, rewards, beta, steps, promptsPerStep, completionsPerPrompt, maxTokens, seed } = options;
  const trainer = await Trainer.create(model, { adapter, seed, optimizer: 'adamw_torch' });
  const objective = policyObjective(policyObjectives.grpo({ beta }));
  const order = new RowOrder(rows.length, seed);

  for (let step = 0; step < steps; step++) {
    // Rollout and reward: completions of every prompt, from the policy as it is now.
    const chosen = Array.from({ length: promptsPerStep }, (_, i) => rows[order.at(step * promptsPerStep + i)]!);
    const policy = { model: trainer.model, adapter: trainer.adapter };
    const settings = { completionsPerPrompt, maxCompletionLength: maxTokens, seed, step };
    const sampled = await rollOut({ ...policy, ...settings, rows: chosen, rewards });

    // Reference: the model without the adapter.
    const sequences = sampled.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
    const reference = await sequenceLogProbs(model, sequences);
    const rollouts = sampled.map((rollout, i) => {
      return { ...rollout, referenceLogProbs: reference[i]!.logProbs.subarray(rollout.promptTokens.length - 1) };
    });

    // Advantage: (reward - mean) / deviation of the group, on every token of the completion. Then the clipped surrogate.
    const { rows: annotated } = objective.annotate(rollouts, { maxCompletionLength: maxTokens });
    const { loss } = await trainer.forwardBackward(annotated, objective.loss);
    await trainer.optimStep({ learningRate: options.learningRate * (1 - step / steps) });
    options.onStep?.(step, loss, sampled.reduce((sum, { reward }) => sum + (reward ?? 0), 0) / sampled.length);
  }
  return trainer;
}
