import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { PreferenceRow } from './preference-rows.js';

/** Two solutions of a problem, step by step: a right one, and one that goes wrong somewhere. */
export interface StepSolutions {
  readonly prompt: string;
  readonly chosen: readonly string[];
  readonly rejected: readonly string[];
}

/**
 * Step-DPO (arXiv 2406.18629, eq. 3): the pair of the first steps that differ, behind the steps that both solutions share,
 *
 *   -log σ(β h(s_w | x, s_1 … s_{k-1}) - β h(s_l | x, s_1 … s_{k-1}))
 *
 * which is DPO of rows whose prompt has these steps: `preferenceLosses.sigmoid()`, or any other loss of pairs. Steps are texts that are
 * joined as they are. Undefined where one solution is the start of the other, so that no step of both differs.
 *
 * @throws PosttrainError STEPS for what are no lists of texts
 */
export function stepDpoPair({ prompt, chosen, rejected }: StepSolutions): PreferenceRow | undefined {
  for (const [name, steps] of Object.entries({ chosen, rejected })) {
    if (Array.isArray(steps) && steps.every((step) => typeof step === 'string')) continue;
    throw new PosttrainError(
      'STEPS',
      `stepDpoPair: ${name} must be a list of texts, a step each, and is ${showValue(steps)}`,
    );
  }
  const shared = chosen.findIndex((step, i) => step !== rejected[i]);
  const [better, worse] = [chosen[shared], rejected[shared]];
  if (better === undefined || worse === undefined) return undefined;
  return { prompt: prompt + chosen.slice(0, shared).join(''), chosen: better, rejected: worse };
}
