import { EvaluationError } from '../errors.js';
import type { PairwiseProblem } from '../kinds/pairwise.js';
import type { EvalResult } from '../log/format.js';
import type { Battle } from '../statistics/battle.js';

/**
 * An arena from logs of `pairwise` tasks (arXiv 2403.04132): every pair that was judged is a battle of the run's model and its opponent, for
 * `bradleyTerry` and `elo`. Problems of one id, or of one cluster, are not independent over all runs.
 *
 * @throws EvaluationError `NO_OPPONENT` for a run whose opponent has no name (texts of rows) or that is of another kind; `BAD_BATTLE` for one
 *   that has its model as its opponent
 */
export function battlesOfPairs(results: readonly EvalResult<PairwiseProblem>[]): Battle[] {
  return results.flatMap(({ config, problems }) => {
    const { model, opponent, type } = config;
    if (type !== 'pairwise' || typeof opponent !== 'string')
      throw new EvaluationError(
        'NO_OPPONENT',
        `battlesOfPairs: the run of ${model} on "${config.task}" has no opponent with a name; it must be of the kind "pairwise", with a generator as its opponent.`,
      );
    if (model === opponent)
      throw new EvaluationError('BAD_BATTLE', `battlesOfPairs: "${model}" is its own opponent on "${config.task}".`);
    return problems.flatMap(({ id, cluster, score }): Battle[] =>
      score === null
        ? []
        : [{ a: model, b: opponent, score, cluster: cluster === undefined ? `id:${id}` : `cluster:${cluster}` }],
    );
  });
}
