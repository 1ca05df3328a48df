import { custom, type Given, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { PairwiseProblem } from '../kinds/pairwise.js';
import { type Agreement, cohenKappa } from '../statistics/agreement/cohen-kappa.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';
import { differenceOfMeans, type SelfPreference, selfPreference } from './self-preference.js';

/** What people, or a checker, say of a pair: 1 for the model's own completion, 0 for the opponent's, ½ for a tie, `null` unknown. */
export type PairGold = number | null;

const reliabilityOptions = options('judgeReliability', {
  /** What people say of each pair, in the order of the problems. Without it there is no agreement and no bias for its own. Default: none. */
  gold: custom<readonly PairGold[]>()('a list of 1, 0.5, 0 or null, one a problem', Array.isArray, { optional: true }),
  /** Whether the judge itself wrote the first or the second of a pair. Default: neither is known. */
  own: custom<(problem: PairwiseProblem) => 'first' | 'second' | null>()(
    'a function of a problem',
    (value) => typeof value === 'function',
    { optional: true },
  ),
});
/** Options of `judgeReliability`. */
export type JudgeReliabilityOptions = Given<typeof reliabilityOptions>;

/** What a judge owes to something else than what it judges. Shares have Wilson's intervals. */
export interface JudgeReliability {
  /** Judgements, two a pair, and how many of them said nothing: cut off, or no verdict found. */
  readonly judgements: number;
  readonly unparsed: number;
  /** Pairs judged alike in both orders. */
  readonly consistent: MeanEstimate;
  /** P(first place wins) − P(second place wins) over single judgements. 0: no bias for a place. */
  readonly positionBias: MeanEstimate;
  /** Of pairs with a winner and of unequal length (in code points), the share whose longer side won; ½ without bias where length is worth nothing. */
  readonly longerWins: MeanEstimate;
  /** Errors towards length less errors away from it: absent without `gold`. */
  readonly lengthBias?: MeanEstimate;
  /** Absent without `own` and `gold`. */
  readonly selfPreference?: SelfPreference;
  /** Cohen's κ with `gold` over win, tie and loss. Absent without it. */
  readonly agreement?: Agreement;
}

/**
 * How far a judge of pairs can be trusted, from the log of a `pairwise` task (arXiv 2306.05685 §3.3 and 4.2): judgements that could not be
 * read, bias of position, of length (verbosity), for its own (`selfPreference`), and agreement with people.
 *
 * `lengthBias` is P(longer wins | people prefer the shorter) − P(shorter wins | people prefer the longer): how much more often it errs towards length
 * than away from it, so that answers that are longer because they are better count for nothing.
 *
 * @throws OptionError; EvaluationError `UNPAIRED` for other numbers of problems and gold, `NO_RECORDS` for no problems
 */
export function judgeReliability(
  problems: readonly PairwiseProblem[],
  given: JudgeReliabilityOptions = {},
): JudgeReliability {
  const { gold, own } = reliabilityOptions.read(given);
  if (problems.length === 0) throw new EvaluationError('NO_RECORDS', 'judgeReliability: there are no problems.');
  if (gold && gold.length !== problems.length)
    throw new EvaluationError(
      'UNPAIRED',
      `judgeReliability: ${gold.length} gold for ${problems.length} problems; give one each.`,
    );
  const clusterOf = ({ id, cluster }: PairwiseProblem): string =>
    cluster === undefined ? `id:${id}` : `cluster:${cluster}`;
  const single = problems.flatMap((problem) =>
    problem.verdicts.map(({ winner }) => ({ winner, cluster: clusterOf(problem) })),
  );
  const said = single.filter(({ winner }) => winner !== null);
  const readable = problems.filter(({ score }) => score !== null);
  const mean = (some: readonly { value: number; cluster: string }[]): MeanEstimate =>
    meanWithStandardError(
      some.map(({ value }) => value),
      some.map(({ cluster }) => cluster),
    );
  const lengths = problems.map(({ completion, opponent }) => lengthOf(completion.text) - lengthOf(opponent.text));
  const longer = problems.flatMap((problem, i) => {
    const { score } = problem;
    if (score === null || score === 0.5 || lengths[i] === 0) return [];
    return [{ value: Number((score === 1) === lengths[i]! > 0), cluster: clusterOf(problem) }];
  });
  const judged = gold
    ? problems.flatMap((problem, i) =>
        problem.score === null || gold[i] === null
          ? []
          : [{ problem, score: problem.score, gold: gold[i]!, longer: lengths[i]! }],
      )
    : [];
  return {
    judgements: single.length,
    unparsed: single.length - said.length,
    consistent: mean(readable.map((problem) => ({ value: Number(mirrored(problem)), cluster: clusterOf(problem) }))),
    positionBias: mean(
      said.map(({ winner, cluster }) => ({ value: Number(winner === 'first') - Number(winner === 'second'), cluster })),
    ),
    longerWins: mean(longer),
    ...(gold && { lengthBias: lengthBiasOf(judged.map((pair) => ({ ...pair, cluster: clusterOf(pair.problem) }))) }),
    ...(gold &&
      own && {
        selfPreference: selfPreference(
          judged.flatMap(({ problem, score, gold: truth }) => {
            const side = own(problem);
            if (side === null) return [];
            const of = (x: number): number => (side === 'first' ? x : 1 - x);
            return [
              { isOwn: true, preferred: of(score), gold: of(truth) },
              { isOwn: false, preferred: 1 - of(score), gold: 1 - of(truth) },
            ];
          }),
        ),
      }),
    ...(gold &&
      judged.length > 0 && {
        agreement: cohenKappa(
          judged.map(({ score }) => score),
          judged.map(({ gold: truth }) => truth),
        ),
      }),
  };
}

const lengthOf = (text: string): number => [...text].length;

function mirrored({ verdicts: [one, swapped] }: PairwiseProblem): boolean {
  return { first: 'second', second: 'first', tie: 'tie' }[one.winner as 'first' | 'second' | 'tie'] === swapped.winner;
}

/** Errors towards length less errors away from it, each as a share of the pairs in which it could have been made. */
function lengthBiasOf(
  pairs: readonly { score: number; gold: number; longer: number; cluster: string }[],
): MeanEstimate {
  const decided = pairs.filter(({ gold, longer }) => gold !== 0.5 && longer !== 0);
  const towards = decided.filter(({ gold, longer }) => (gold === 1) !== longer > 0);
  const away = decided.filter(({ gold, longer }) => (gold === 1) === longer > 0);
  const errs = ({ score, gold }: { score: number; gold: number }): number => Number(score !== 0.5 && score !== gold);
  const estimate = (some: typeof decided): MeanEstimate =>
    meanWithStandardError(
      some.map(errs),
      some.map(({ cluster }) => cluster),
    );
  return differenceOfMeans(estimate(towards), estimate(away));
}
