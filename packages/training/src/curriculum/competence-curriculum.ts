import type { Key } from '@posttrain/core-tensor';
import { type Given, integer, number, OptionError, options } from '@posttrain/interfaces';
import { contentHash } from '../run/identity.js';
import type { RowSource } from '../run/row-source.js';

const competenceOptions = options('competenceCurriculum', {
  /** T: steps until all rows are drawn from. */
  steps: integer({ min: 1 }),
  /** c₀: the part of the rows, the easiest, that is drawn from in the first step. Default 0.01. */
  initialCompetence: number({ default: 0.01, above: 0, max: 1 }),
  /** p: 1 is the linear pacing of the paper, 2 its square root. Default 2. */
  power: number({ default: 2, above: 0 }),
});
/** Options of `competenceCurriculum`. */
export type CompetenceCurriculumOptions = Given<typeof competenceOptions>;

/** A curriculum, and how far it is in a step. */
export interface CompetenceCurriculum<Row> extends RowSource<Row> {
  /** c(t), the part of the rows that is drawn from. */
  competence(step: number): number;
}

/**
 * Competence-based curriculum learning (arXiv 1903.09848, algorithm 1): step t draws its rows uniformly from those whose difficulty is
 * among the easiest c(t) of all,
 *
 *   c(t) = min(1, (t (1 - c₀ᵖ) / T + c₀ᵖ)^(1 / p))
 *
 * Within a step, no row comes twice before all that may be drawn have. It has no state but the step.
 *
 * @param difficulties one a row, of any scale: their order counts. The length of the text, its negative log-likelihood (`perplexity` of
 *   @posttrain/lm), how often it is solved. Rows that are equally difficult come together
 * @throws OptionError where there are no rows, or not as many numbers
 */
export function competenceCurriculum<Row>(
  rows: readonly Row[],
  difficulties: readonly number[],
  given: CompetenceCurriculumOptions,
): CompetenceCurriculum<Row> {
  const { steps, initialCompetence: start, power } = competenceOptions.read(given);
  const wrong = (problem: string) => new OptionError('INVALID_OPTION', 'competenceCurriculum', 'difficulties', problem);
  if (rows.length === 0) throw wrong('there are no rows.');
  if (difficulties.length !== rows.length) throw wrong(`there are ${difficulties.length} for ${rows.length} rows.`);
  const bad = difficulties.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) throw wrong(`difficulties[${bad}] is ${difficulties[bad]}; a difficulty is a finite number.`);
  const order = rows.map((_, i) => i).sort((a, b) => difficulties[a]! - difficulties[b]! || a - b);
  const sorted = order.map((i) => difficulties[i]!);
  const competence = (step: number): number =>
    Math.min(1, ((step * (1 - start ** power)) / steps + start ** power) ** (1 / power));
  /** How many of the easiest rows are drawn from: those whose part of all, themselves included, is at most c(t); one at least. */
  const eligible = (step: number): number => {
    // What a power and its root have rounded off is no row less.
    const least = Math.max(1, Math.floor(competence(step) * rows.length + 1e-9));
    let count = least;
    while (count < rows.length && sorted[count] === sorted[least - 1]) count++;
    return count;
  };
  const shuffled = (count: number, key: Key): number[] =>
    Array.from(key.uniformHost(count), (u, i) => ({ i, u }))
      .sort((a, b) => a.u - b.u || a.i - b.i)
      .map(({ i }) => order[i]!);
  return {
    name: 'competence-curriculum',
    settings: { ...competenceOptions.settings(given), rows: contentHash([rows, difficulties]) },
    competence,
    next({ count, step, key }) {
      const among = eligible(step);
      const rounds = Array.from({ length: Math.ceil(count / among) }, (_, round) => shuffled(among, key.child(round)));
      return rounds
        .flat()
        .slice(0, count)
        .map((i) => ({ row: rows[i]! }));
    },
  };
}
