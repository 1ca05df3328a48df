import { PosttrainError, showValue } from '@posttrain/interfaces';
import { needOf, type RolloutNeed } from '../advantage/advantage.js';
import type { Rollout } from '../rollout.js';

/** A rollout that a source or an annotator has given and nothing can be learnt from. Code `ROLLOUT`. */
export class RolloutError extends PosttrainError {
  /** @param who gave it: `the annotator critic-values` */
  constructor(who: string, problem: string, index?: number) {
    super('ROLLOUT', `${who} gave ${index === undefined ? '' : `rollout ${index} `}${problem}`);
  }
}

/** Of which there is one for each token, and every one a number. */
const PER_TOKEN = ['values', 'tokenRewards', 'oldLogProbs', 'samplerLogProbs'] as const;
/** One number each. */
const NUMBERS = ['endValue', 'baseline'] as const;
/** Probabilities above 1: what a logarithm may have of rounding, in nats, of a sampler in bfloat16 too. */
const MOST_LOG_PROB = 0.05;

/**
 * Refuses what a part has made of rollouts where arrays are not of their length, numbers are none, or something is missing that it
 * says it `gives`.
 *
 * @throws RolloutError
 */
export function checkRollouts<R extends Partial<Rollout>>(
  who: string,
  rollouts: readonly R[],
  gives: readonly RolloutNeed[] = [],
): readonly R[] {
  if (!Array.isArray(rollouts)) throw new RolloutError(who, `${showValue(rollouts)}; it must be a list of rollouts`);
  rollouts.forEach((rollout: R, i) => {
    const wrong = (problem: string) => new RolloutError(who, problem, i);
    const { promptTokens, completionTokens, mask, extras = {}, turnRewards = [] } = rollout ?? {};
    if (!promptTokens || !completionTokens) throw wrong('without promptTokens and completionTokens');
    const count = completionTokens.length;
    const check = (name: string, values: unknown, width: number | 'any' = 1) => {
      const { length } = values as ArrayLike<number>;
      const fits = width === 'any' ? count > 0 && length % count === 0 : length === count * width;
      if (!fits) throw wrong(`with ${length} numbers of ${name}, and it has ${count} tokens`);
      for (let t = 0; t < length; t++) {
        const value = (values as ArrayLike<number>)[t];
        if (!Number.isFinite(value)) throw wrong(`with ${showValue(value)} for ${name}[${t}]; it must be a number`);
      }
    };
    if (mask && mask.length !== count) throw wrong(`with a mask of ${mask.length} entries, and it has ${count} tokens`);
    for (const name of PER_TOKEN) if (rollout[name] !== undefined) check(name, rollout[name]);
    const above = Array.from(rollout.samplerLogProbs ?? []).find((value) => value > MOST_LOG_PROB);
    if (above !== undefined)
      throw wrong(`with ${above} among its samplerLogProbs; a log-probability is not above 0, so it is something else`);
    for (const name of NUMBERS) {
      const value = rollout[name];
      if (value !== undefined && !Number.isFinite(value)) throw wrong(`with ${showValue(value)} for its ${name}`);
    }
    if (rollout.reward !== undefined && rollout.reward !== null && !Number.isFinite(rollout.reward)) {
      throw wrong(`with ${showValue(rollout.reward)} for its reward; null is "not scorable"`);
    }
    for (const { at, reward } of turnRewards) {
      if (!(at >= 0 && at < count))
        throw wrong(`with a reward of a turn at ${showValue(at)}, and it has ${count} tokens`);
      if (!Number.isFinite(reward)) throw wrong(`with ${showValue(reward)} for the reward of a turn`);
    }
    for (const [name, value] of Object.entries(extras)) {
      if (typeof value === 'number' && Number.isFinite(value)) continue;
      if (typeof (value as Partial<ArrayLike<number>> | null | undefined)?.length === 'number') {
        check(`extras.${name}`, value, 'any');
      } else throw wrong(`with ${showValue(value)} for extras.${name}; it must be a number, or numbers of its tokens`);
    }
    for (const need of gives) {
      if (needOf(rollout as unknown as Rollout, need) === undefined)
        throw wrong(`without ${need}, which it says it gives`);
    }
  });
  return rollouts;
}
