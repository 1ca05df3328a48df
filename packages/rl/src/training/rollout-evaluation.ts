import { Key } from '@posttrain/core-tensor';
import {
  collectRows,
  contentHash,
  copyState,
  type EvaluationOnRows,
  type Rows,
  type UncheckedRows,
} from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import { singleTurn } from '../rollout/single-turn.js';
import { rolloutMetrics } from './policy-metrics.js';
import { type PolicySettings, samplingOf } from './policy-options.js';
import { checkPrompts } from './prompts.js';
import { sampleAndScore } from './rollouts.js';

/** Of the keys of a run's seed, steps have those from 0 up; this one is that of all evaluations. */
const EVALUATION = 2 ** 32 - 1;

/**
 * Evaluation of a policy on held-out prompts: completions are sampled and scored as in training, and measured by the same
 * metrics. All evaluations of a run draw the same random numbers, so that they differ by the policy only.
 */
export async function rolloutsOnRows(
  given: Rows<PromptRow> | UncheckedRows,
  settings: PolicySettings,
): Promise<EvaluationOnRows> {
  const { rows, identity } = await collectRows<PromptRow>('trainPolicy', given, settings, 'evaluationRows');
  const prompts = checkPrompts(rows, settings);
  const { rewards, completionsPerPrompt, maxBatch, scoring = {}, seed, rollouts = singleTurn() } = settings;
  // It is the policy as it is now that is measured, and not what a sampler elsewhere has of it.
  const source = rollouts.evaluated ?? (rollouts.isOffPolicy ? singleTurn() : rollouts);
  return {
    digest: contentHash([identity.rows, prompts]),
    async measure(trainer, signal) {
      // What a source learns by being asked is of the training.
      const before = source.state && (await copyState(await source.state(), `the state of ${source.name}`));
      const sampled = await sampleAndScore({
        ...{
          source,
          firstGroup: 0,
          model: trainer.model,
          adapter: trainer.adapter,
          rows,
          prompts,
          rewards,
          completionsPerPrompt,
        },
        ...{ sampling: samplingOf(settings), scoring, maxBatch, signal },
        // A runner of its own where all weights are trained: rollouts leave nothing to each other.
        packWeights: 'at-once',
        key: Key.fromSeed(seed).child(EVALUATION),
        step: trainer.step,
      });
      await source.load?.(before);
      return rolloutMetrics(sampled);
    },
  };
}
