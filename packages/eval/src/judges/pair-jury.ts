import { assertArgument, type PairJudge, type PairVerdict } from '@posttrain/interfaces';
import { assertLength } from '../task-kind.js';
import { addUsage } from '../warnings.js';

/**
 * A jury of judges of pairs (panel of evaluators, PoLL, arXiv 2404.18796 §2): each juror is asked about every pair by itself, and the side wins
 * that more jurors prefer than the other; where there are as many it is a tie. A juror that said nothing has no part in it; where none said anything, the
 * jury has not. `preference` is the mean over jurors of what they prefer: their own where they say one, else 1, ½ or 0.
 *
 * Verifiers are pooled by `jury` of `@posttrain/tts`.
 *
 * @throws OptionError for jurors that are no judges of pairs; EvaluationError `BAD_RESPONSE` for one that leaves pairs out
 */
export function pairJury(jurors: readonly PairJudge[]): PairJudge {
  const isJury =
    Array.isArray(jurors) && jurors.length > 0 && jurors.every((juror) => typeof juror?.compare === 'function');
  assertArgument('pairJury', 'jurors', jurors, isJury, 'a list of judges: objects with a name and compare(requests)');
  return {
    name: `jury of ${jurors.map(({ name }) => name).join(', ')}`,
    async compare(requests) {
      const said = await Promise.all(
        jurors.map(async (juror) => {
          const verdicts = await juror.compare(requests);
          assertLength(juror.name, 'verdicts', verdicts.length, requests.length, 'pairs');
          return verdicts;
        }),
      );
      return requests.map((_, i): PairVerdict => {
        const verdicts = said.map((one) => one[i]!);
        const voted = verdicts.filter(({ winner }) => winner !== null);
        const usage = addUsage(verdicts.flatMap(({ usage: of }) => of ?? []));
        const lead = voted.reduce(
          (sum, { winner }) => sum + Number(winner === 'first') - Number(winner === 'second'),
          0,
        );
        const preferred = voted.map(
          ({ winner, preference }) => preference ?? (winner === 'first' ? 1 : winner === 'second' ? 0 : 0.5),
        );
        return {
          winner: voted.length === 0 ? null : lead > 0 ? 'first' : lead < 0 ? 'second' : 'tie',
          ...(voted.length > 0 && { preference: preferred.reduce((sum, x) => sum + x, 0) / voted.length }),
          explanation: verdicts.map(({ winner }, k) => `${jurors[k]!.name}: ${winner ?? 'nothing said'}`).join('; '),
          ...(usage && { usage }),
        };
      });
    },
  };
}
