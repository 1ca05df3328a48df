import { Key } from '@posttrain/core-tensor';
import { LocalGenerator, promptTokens, sequenceLogProbs } from '@posttrain/lm';
import {
  type PromptRow,
  policyObjective,
  policyObjectives,
  type Rollout,
  scoreCompletions,
  seedOf,
} from '@posttrain/rl';
import { RowOrder, Trainer } from '@posttrain/training';
import type { Conversation, PolicyLoop } from './options.js';

/** Group Relative Policy Optimization (arXiv 2402.03300): what `trainPolicy` does, without what is the same in every run. */
export async function grpoLoop<Row extends PromptRow & Conversation>(options: PolicyLoop<Row>): Promise<Trainer> {
  const { model, adapter, rows, rewards, beta, steps, promptsPerStep, completionsPerPrompt: n, maxTokens } = options;
  const trainer = await Trainer.create(model, { adapter, seed: options.seed, optimizer: 'adamw_torch' });
  const objective = policyObjective(policyObjectives.grpo({ beta }));
  const order = new RowOrder(rows.length, options.seed);

  for (let step = 0; step < steps; step++) {
    // Rollout: n completions of every prompt, from the policy as it is now.
    const chosen = Array.from({ length: promptsPerStep }, (_, i) => rows[order.at(step * promptsPerStep + i)]!);
    const prompts = chosen.map(({ prompt }) => promptTokens(model, prompt));
    const policy = new LocalGenerator(trainer.model, { adapter: () => trainer.adapter, packWeights: 'at-once' });
    const key = Key.fromSeed(options.seed).child(step).child(0);
    const groups = await policy.generate(
      prompts.map((tokenIds, i) => {
        const prompt = { tokenIds, continuesText: false };
        return { prompt, n, maxTokens, temperature: 1, logProbs: true, seed: seedOf(key.child(i)) };
      }),
    );

    // Reward.
    const sampled = groups.flatMap((completions, group) =>
      completions.map(({ text, tokenIds, logProbs, finishReason }) => {
        const of = { group, row: chosen[group]!, prompt: chosen[group]!.prompt, step };
        return { ...of, text, completionTokens: tokenIds!, samplerLogProbs: logProbs!, finishReason };
      }),
    );
    const { rewards: scores } = await scoreCompletions(rewards, sampled);

    // Reference: the model without the adapter.
    const sequences = sampled.map(({ group, completionTokens }) => [...prompts[group]!, ...completionTokens]);
    const reference = await sequenceLogProbs(model, sequences);
    const rollouts = sampled.map((completion, i): Rollout => {
      const { group, completionTokens, samplerLogProbs: oldLogProbs } = completion;
      const referenceLogProbs = reference[i]!.logProbs.subarray(prompts[group]!.length - 1);
      const reward = scores[i]!;
      return { group, promptTokens: prompts[group]!, completionTokens, oldLogProbs, referenceLogProbs, reward };
    });

    // Advantage: (reward - mean) / deviation of the group, on every token of the completion. Then the clipped surrogate.
    const { rows: annotated } = objective.annotate(rollouts, { maxCompletionLength: maxTokens });
    const { loss } = await trainer.forwardBackward(annotated, objective.loss);
    await trainer.optimStep({ learningRate: options.learningRate * (1 - step / steps) });
    options.onStep?.(step, loss, scores.reduce((sum: number, score) => sum + (score ?? 0), 0) / scores.length);
  }
  return trainer;
}
