import type { DecisiveSettings, HasSettings, Verdict, Verifier } from '@posttrain/interfaces';
import { groupsOf } from '../rollout.js';
import { RewardError, type RewardRequest } from './reward.js';

/**
 * A reward that sees all completions of a prompt at once: a vote, a diversity bonus, a ranking by a judge.
 *
 * @param settings what it was made with, which a resumed run must share
 * @param reward called once for each group, concurrently; one number a completion in their order, null: not scorable
 */
export function groupReward(
  name: string,
  settings: DecisiveSettings,
  reward: (completions: readonly RewardRequest[]) => readonly (number | null)[] | Promise<readonly (number | null)[]>,
): Verifier & HasSettings {
  return {
    name,
    settings,
    async verify(requests: readonly RewardRequest[]) {
      const placed = requests.map((request, i) => {
        if (request.group === undefined) throw new RewardError(name, 'is of groups, and was asked about none', request);
        return { group: request.group, request, i };
      });
      const verdicts = new Array<Verdict>(requests.length);
      await Promise.all(
        groupsOf(placed).map(async (group) => {
          const scores = await reward(group.map(({ request }) => request));
          if (scores.length !== group.length) {
            const problem = `returned ${scores.length} numbers for a group of ${group.length} completions`;
            throw new RewardError(name, problem, group[0]!.request);
          }
          group.forEach(({ i }, j) => {
            verdicts[i] = { score: scores[j]! };
          });
        }),
      );
      return verdicts;
    },
  };
}
