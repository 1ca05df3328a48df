import { EvaluationError } from '../errors.js';
import type { ArenaProblem } from '../kinds/arena.js';
import type { Battle, Rating } from '../statistics/battle.js';
import { type BradleyTerryOptions, bradleyTerry } from '../statistics/bradley-terry.js';
import { type EloOptions, elo } from '../statistics/elo.js';
import type { MeanEstimate } from '../statistics/standard-error.js';
import type { Metric } from '../task.js';

/** A metric of an arena. */
export type ArenaMetric = Metric<ArenaProblem>;

/**
 * The Bradley–Terry rating of the model, or of a player by name, among all players; prompts are the independent units. Of one problem, the points
 * that it won. No value where ratings have no maximum (`bradleyTerry`).
 */
export const bradleyTerryRating = (player?: string, options: BradleyTerryOptions = {}): ArenaMetric =>
  rating('bt_rating', player, (battles) => {
    try {
      return bradleyTerry(battles, options);
    } catch (error) {
      if (error instanceof EvaluationError && error.code === 'NOT_IDENTIFIED') return [];
      throw error;
    }
  });

/** The Elo rating of the model, or of a player by name, battles in the order of the dataset. Of one problem, the points that it won. */
export const eloRating = (player?: string, options: EloOptions = {}): ArenaMetric =>
  rating('elo_rating', player, (battles) => elo(battles, options));

/** The battles of problems that have a score; each problem is a cluster, or what the task says. */
export function battlesOf(problems: readonly ArenaProblem[], clusters?: readonly string[]): Battle[] {
  return problems.flatMap(({ id, battles }, i) =>
    battles.flatMap(({ a, b, score }) => (score === null ? [] : [{ a, b, score, cluster: clusters?.[i] ?? id }])),
  );
}

function rating(name: string, player: string | undefined, of: (battles: Battle[]) => Rating[]): ArenaMetric {
  return {
    name: player === undefined ? name : `${name}[${player}]`,
    value(problem) {
      const own = player ?? problem.model;
      const won = battlesOf([problem]).flatMap(({ a, b, score }) =>
        a === own ? [score] : b === own ? [1 - score] : [],
      );
      return won.length === 0 ? null : won.reduce((sum, x) => sum + x, 0) / won.length;
    },
    estimate(problems, clusters): MeanEstimate {
      const own = player ?? problems[0]?.model;
      const found = of(battlesOf(problems, clusters)).find((it) => it.player === own);
      const { rating: value = null, standardError = null, interval = null } = found ?? {};
      return { value, standardError, interval, count: problems.length };
    },
  };
}
