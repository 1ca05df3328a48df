import { custom, type Given, type HasSettings, number, options, type Verifier } from '@posttrain/interfaces';
import { isVerifier, verdictsOf, verifierOption } from './members.js';
import type { PromptRow } from './reward.js';

const satoriOptions = options('satoriReward', {
  /** Says whether the answer is right. */
  outcome: verifierOption,
  /** The score of `outcome` from which on an answer is right. Default 0.5. */
  threshold: number({ default: 0.5 }),
  /** An outcome reward model, whose score is a logit. Default: none, and no such part. */
  rewardModel: custom<Verifier>()('a verifier ({ name, verify(requests) })', isVerifier, {
    optional: true,
    settings: ({ name }) => name,
  }),
  /** β: what is paid for a wrong trajectory that is put right, and taken for a right one that is spoilt. Default 0.5. */
  bonus: number({ default: 0.5, min: 0 }),
});
/** Options of `satoriReward`. */
export type SatoriRewardOptions = Given<typeof satoriOptions>;

/** A row that restarts in the middle of a trajectory, and what that trajectory came to. */
export interface RestartedRow extends PromptRow {
  readonly restarted_from: 'right' | 'wrong';
}

/**
 * The reward of Satori's reinforcement (arXiv 2502.02508), with the bonus of restart and explore: r = 1[right] - 1 + σ(r_ORM) + b, where b is β for a
 * rollout that begins in a wrong trajectory and ends right, -β for one that begins in a right trajectory and ends wrong, and 0 otherwise,
 * also from the start. Where a rollout begins is the row's `restarted_from`, which `restartBuffer` writes when it is told what is right. What the
 * outcome or the reward model cannot score has no reward.
 *
 * @throws OptionError; what the two throw
 */
export function satoriReward(given: SatoriRewardOptions): Verifier & HasSettings {
  const { outcome, threshold, rewardModel, bonus } = satoriOptions.read(given);
  return {
    name: 'satoriReward',
    settings: satoriOptions.settings(given),
    async verify(requests) {
      const [ends, logits] = await Promise.all([
        verdictsOf(outcome, requests),
        rewardModel && verdictsOf(rewardModel, requests),
      ]);
      return requests.map(({ row }, i) => {
        const [end, logit] = [ends[i]!.score, logits?.[i]?.score];
        if (end === null || logit === null) return { score: null };
        const isRight = end >= threshold;
        const from = (row as Partial<RestartedRow> | undefined)?.restarted_from;
        const changed = from === 'wrong' && isRight ? bonus : from === 'right' && !isRight ? -bonus : 0;
        return { score: (isRight ? 0 : -1) + (logit === undefined ? 0 : 1 / (1 + Math.exp(-logit))) + changed };
      });
    },
  };
}
