import { assertArgument, type Given, oneOf, options, type Verdict, type Verifier } from '@posttrain/interfaces';
import { hasMethod } from './arguments.js';
import { checkedVerdicts } from './contracts.js';
import { mean, quantile } from './numbers.js';

const juryOptions = options('jury', {
  /** How scores become one: their mean, median, least or most. Default `mean`. */
  pooling: oneOf(['mean', 'median', 'min', 'max'], { default: 'mean' }),
});
/** Options of `jury`. */
export type JuryOptions = Given<typeof juryOptions>;

const POOL = {
  mean,
  median: (scores) => quantile(scores, 0.5),
  min: (scores) => Math.min(...scores),
  max: (scores) => Math.max(...scores),
} as const satisfies Record<string, (scores: readonly number[]) => number>;

/**
 * A jury (panel of evaluators, PoLL; arXiv 2404.18796 §2): one verifier of several, small and unlike ones rather than one large. Each scores
 * every completion by itself, and the score is the pool of theirs; of checkers that say 0 or 1, the median is the majority.
 *
 * A juror that cannot score (`null`) has no part in it; where none can, the jury cannot. One completion is one verifier call of a budget, and its
 * tokens are all jurors' together, so `tokensPerVerifierCall` is the sum of what they take. Answers are found by no jury.
 *
 * @throws OptionError for jurors that are no verifiers; `verify` throws the first juror's error, and ContractError
 */
export function jury(jurors: readonly Verifier[], given: JuryOptions = {}): Verifier {
  const { pooling } = juryOptions.read(given);
  const isJury = Array.isArray(jurors) && jurors.length > 0 && jurors.every((it) => hasMethod(it, 'verify'));
  assertArgument('jury', 'jurors', jurors, isJury, 'a list of verifiers');
  return {
    name: `jury of ${jurors.map(({ name }) => name).join(', ')}`,
    verify: async (requests) => {
      const said = await Promise.all(
        jurors.map(async (juror) => checkedVerdicts(juror.name, await juror.verify(requests), requests.length)),
      );
      return requests.map((_, i): Verdict => {
        const verdicts = said.map((one) => one[i]!);
        const scores = verdicts.flatMap(({ score }) => score ?? []);
        const used = verdicts.flatMap(({ usage }) => usage ?? []);
        return {
          score: scores.length === 0 ? null : POOL[pooling](scores),
          explanation: verdicts.map(({ score }, k) => `${jurors[k]!.name}: ${score}`).join('; '),
          ...(used.length > 0 && {
            usage: {
              promptTokens: used.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
              completionTokens: used.reduce((sum, { completionTokens }) => sum + completionTokens, 0),
            },
          }),
        };
      });
    },
  };
}
