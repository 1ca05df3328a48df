import {
  type Given,
  type HasSettings,
  integer,
  options,
  showValue,
  text,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { verdictsOf, verifierOption } from './members.js';
import { RewardError } from './reward.js';

const contrastiveRewardOptions = options('contrastiveReward', {
  /** The reward model. */
  verifier: verifierOption,
  /** Column of the row with its baseline completions: of the model that training begins with. Default `baselines`. */
  column: text({ default: 'baselines' }),
  /** Prompts whose baseline rewards are kept. Default 100,000. */
  cacheSize: integer({ default: 100_000, min: 1, decisive: false }),
});
/** Options of `contrastiveReward`. */
export type ContrastiveRewardOptions = Given<typeof contrastiveRewardOptions>;

/**
 * Contrastive rewards (arXiv 2403.07708, eq. 3): r(x, y) - (1 / k) Σ r(x, y_j) over baseline completions y_j of the same prompt, which
 * were sampled before training. What the reward model likes or dislikes in every answer to a prompt is gone, and prompts whose
 * baseline is good already push less. The baselines of a row are scored once, so
 * the reward model must stay as it is. Not scorable where the completion or every
 * baseline is not.
 *
 * @throws RewardError for a row without baselines; what the reward model throws
 */
export function contrastiveReward(given: ContrastiveRewardOptions): Verifier & HasSettings {
  const { verifier, column, cacheSize } = contrastiveRewardOptions.read(given);
  const known = new Map<string, number | null>();
  const baselinesOf = (request: VerifyRequest): readonly string[] => {
    const baselines = request.row?.[column];
    const isList =
      Array.isArray(baselines) && baselines.length > 0 && baselines.every((one) => typeof one === 'string');
    if (isList) return baselines;
    const problem = `needs the column "${column}", a list of completions sampled before training, and found ${showValue(baselines)}`;
    throw new RewardError('contrastiveReward', problem, request);
  };
  return {
    name: 'contrastiveReward',
    settings: contrastiveRewardOptions.settings(given),
    async verify(requests) {
      const keys = requests.map((request) => {
        baselinesOf(request);
        return JSON.stringify([request.prompt, request.row]);
      });
      const missing = [...new Map(keys.map((key, i) => [key, requests[i]!])).entries()].filter(
        ([key]) => !known.has(key),
      );
      const asked = missing.flatMap(([, request]) => {
        // Tokens and messages are those of the completion.
        const { tokenIds: _, messages: __, finishReason: ___, ...rest } = request;
        return baselinesOf(request).map((completion) => ({ ...rest, completion }));
      });
      const verdicts = await verdictsOf(verifier, [...requests, ...asked]);
      let next = requests.length;
      for (const [key, request] of missing) {
        const scores = baselinesOf(request).map(() => verdicts[next++]!.score);
        const there = scores.filter((score) => score !== null);
        known.set(key, there.length === 0 ? null : there.reduce((sum, score) => sum + score, 0) / there.length);
      }
      const results = requests.map((_, i) => {
        const [score, baseline] = [verdicts[i]!.score, known.get(keys[i]!)!];
        return { score: score === null || baseline === null ? null : score - baseline };
      });
      for (const key of known.keys()) if (known.size > cacheSize) known.delete(key);
      return results;
    },
  };
}
