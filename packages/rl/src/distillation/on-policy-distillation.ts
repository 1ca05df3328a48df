import { custom, type Given, number, options, settingsOf } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import type { Advantage, RolloutNeed } from '../advantage/advantage.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import type { Rollout } from '../rollout.js';
import { teacherLogProb } from './teacher-log-probs.js';

export const outcomeShape = {
  /** An advantage of the run's rewards that is added to that of the teacher: `groupNormalized()`. Default: none. */
  outcome: custom<Advantage>()(
    'an advantage, such as groupNormalized()',
    (value) => typeof (value as Partial<Advantage> | null | undefined)?.compute === 'function',
    { optional: true, settings: settingsOf },
  ),
};

const advantageOptions = options('onPolicyDistillation', {
  /** Multiplies log π_T - log π. Default 1. */
  coefficient: number({ default: 1, above: 0 }),
  ...outcomeShape,
});
/** Options of `onPolicyDistillation`. */
export type OnPolicyDistillationOptions = Given<typeof advantageOptions>;

/** log π_T - log π_old of each token of a completion: an estimate, of one sample, of minus the reverse KL in its state. */
export function teacherGaps(rollout: Rollout): number[] {
  const teacher = teacherLogProb.of(rollout);
  return rollout.completionTokens.map((_, t) => teacher[t]! - rollout.oldLogProbs[t]!);
}

/** An advantage of the teacher's, with one of the rewards added to every token of it. */
export function withOutcome(
  name: string,
  settings: NonNullable<Advantage['settings']>,
  outcome: Advantage | undefined,
  ofTeacher: (rollout: Rollout) => readonly number[],
): Advantage {
  const needs: RolloutNeed[] = [teacherLogProb.need, ...(outcome?.needs ?? [])];
  return {
    ...{ name, settings, needs },
    ...(outcome?.needsGroup && { needsGroup: true }),
    ...(outcome?.level && { level: outcome.level }),
    ...(outcome?.state && { state: () => outcome.state!() }),
    ...(outcome?.load && { load: (state: never) => outcome.load!(state) }),
    compute(rollouts) {
      const added = outcome?.compute(rollouts);
      return rollouts.map((rollout, i) => {
        const more = added?.[i] ?? 0;
        return ofTeacher(rollout).map((value, t) => value + (typeof more === 'number' ? more : more[t]!));
      });
    },
  };
}

/**
 * The advantage of on-policy distillation (Lu et al., Thinking Machines, 2025; the reverse KL of GKD, arXiv 2306.13649, as a reward):
 *
 *   A_t = c (log π_T(y_t | y_<t) - log π_old(y_t | y_<t)) [+ A of the rewards]
 *
 * of what the student has sampled itself. Its expectation over y_t is -KL(π ‖ π_T) in that state, and the policy gradient with it is the
 * gradient of that KL: a token's later consequences are left out (a discount of 0). It needs `teacherLogProb`, which `teacherLogProbs`
 * gives.
 *
 * @throws OptionError
 */
export function onPolicyDistillation(given: OnPolicyDistillationOptions = {}): Advantage {
  const { coefficient, outcome } = advantageOptions.read(given);
  return withOutcome('on-policy-distillation', advantageOptions.settings(given), outcome, (rollout) =>
    teacherGaps(rollout).map((gap) => coefficient * gap),
  );
}

/** No part of the loss: the metric `reverse_kl`, the mean over trained tokens of log π - log π_T. */
export function reverseKlMetric(): Regulariser {
  const name = 'teacher_token_log_probs';
  return {
    name: 'reverse-kl-metric',
    settings: {},
    needsReference: false,
    annotations: [name],
    annotate: (rollout) => ({ [name]: teacherLogProb.of(rollout) }),
    compute: ({ logProbs, annotations, tokenMean }) => ({
      metrics: { reverse_kl: weightedSum(logProbs.sub(annotations[name]!), tokenMean) },
    }),
  };
}
