import { custom, type Given, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type Battle, byRating, type Indexed, indexed, type Rating } from './battle.js';
import { dot, inverted } from './linear-algebra.js';
import { Z_95 } from './standard-error.js';

interface Anchor {
  readonly player: string;
  readonly rating: number;
}

const bradleyTerryOptions = options('bradleyTerry', {
  /** A player whose rating is given, and the others' follow. Default: the mean of all ratings is 1000. */
  anchor: custom<Anchor>()(
    "{ player, rating }, as { player: 'base', rating: 1000 }",
    (value) =>
      typeof (value as Anchor | null)?.player === 'string' && Number.isFinite((value as Anchor | null)?.rating),
    { optional: true },
  ),
});
/** Options of `bradleyTerry`. */
export type BradleyTerryOptions = Given<typeof bradleyTerryOptions>;

/** Points for a natural log-odds of 1. */
const POINTS = 400 / Math.LN10;

/**
 * Bradley–Terry ratings (Bradley and Terry 1952; of arenas, arXiv 2403.04132 §4) by maximum likelihood: with P(a beats b) = σ(θ_a − θ_b),
 *
 *   θ̂ = argmax Σ s log σ(θ_a − θ_b) + (1 − s) log σ(θ_b − θ_a),  rating = 1000 + (400 / ln 10) θ̂,  Σ θ̂ = 0
 *
 * over battles of score s, of which a tie (s = ½) is half a win for both. Standard errors are the robust ones, V = H⁺ (Σ_c g_c g_cᵀ · C/(C−1)) H⁺
 * with g_c the gradient of a cluster; intervals are rating ± 1.96 of them. The highest rating comes first. The order of battles does not count.
 *
 * @throws OptionError; EvaluationError `BAD_BATTLE`, and `NOT_IDENTIFIED` where a maximum does not exist: some players have never lost
 *   to, or never beaten, any of the others
 */
export function bradleyTerry(battles: readonly Battle[], given: BradleyTerryOptions = {}): Rating[] {
  const { anchor } = bradleyTerryOptions.read(given);
  const data = indexed('bradleyTerry', battles);
  const { players, counts, clusters } = data;
  if (players.length === 0) return [];
  assertIdentified(data);
  const at = anchor === undefined ? undefined : players.indexOf(anchor.player);
  if (at === -1) {
    throw new EvaluationError('NOT_IDENTIFIED', `bradleyTerry: the anchor "${anchor!.player}" is in no battle.`);
  }
  const { strengths, inverse, gradients } = fit(data);
  const isKnown = clusters.length >= 2;
  const factor = clusters.length / (clusters.length - 1);
  const base = at === undefined ? { rating: 1000, strength: 0 } : { rating: anchor!.rating, strength: strengths[at]! };
  return byRating(
    players.map((player, p): Rating => {
      const rating = base.rating + POINTS * (strengths[p]! - base.strength);
      // Row of H⁺ for the rating, the anchor's taken off.
      const row = inverse[p]!.map((value, q) => value - (at === undefined ? 0 : inverse[at]![q]!));
      const variance = gradients.reduce((sum, gradient) => sum + dot(row, gradient) ** 2, 0) * factor;
      const standardError = isKnown ? POINTS * Math.sqrt(variance) : null;
      const interval =
        standardError === null || standardError === 0
          ? null
          : ([rating - Z_95 * standardError, rating + Z_95 * standardError] as const);
      return { player, rating, standardError, interval, battles: counts[p]! };
    }),
  );
}

/** Newton's method with step halving: the likelihood is concave, and strictly so where strengths add up to 0. */
function fit({ players, fought, clusters }: Indexed) {
  const m = players.length;
  let strengths = new Array<number>(m).fill(0);
  const logLikelihood = (at: readonly number[]): number =>
    fought.reduce((sum, { a, b, score }) => {
      const margin = at[a]! - at[b]!;
      return sum - score * Math.log1p(Math.exp(-margin)) - (1 - score) * Math.log1p(Math.exp(margin));
    }, 0);
  const gradientOf = (unit: readonly number[]): number[] => {
    const gradient = new Array<number>(m).fill(0);
    for (const i of unit) {
      const { a, b, score } = fought[i]!;
      const surplus = score - 1 / (1 + Math.exp(strengths[b]! - strengths[a]!));
      gradient[a]! += surplus;
      gradient[b]! -= surplus;
    }
    return gradient;
  };
  const informationInverse = (): number[][] => {
    // 1/m everywhere makes it invertible and changes nothing where strengths add up to 0.
    const information = Array.from({ length: m }, () => new Array<number>(m).fill(1 / m));
    for (const { a, b } of fought) {
      const p = 1 / (1 + Math.exp(strengths[b]! - strengths[a]!));
      const weight = p * (1 - p);
      information[a]![a]! += weight;
      information[b]![b]! += weight;
      information[a]![b]! -= weight;
      information[b]![a]! -= weight;
    }
    const inverse = inverted(information);
    return inverse.map((row) => row.map((value) => value - 1 / m));
  };
  const all = fought.map((_, i) => i);
  for (let iteration = 0; iteration < 100; iteration++) {
    const gradient = gradientOf(all);
    if (Math.max(...gradient.map(Math.abs)) < 1e-10 * fought.length) break;
    const inverse = informationInverse();
    const step = inverse.map((row) => dot(row, gradient));
    const before = logLikelihood(strengths);
    let size = 1;
    let next = strengths;
    do {
      next = strengths.map((strength, p) => strength + size * step[p]!);
      size /= 2;
    } while (logLikelihood(next) < before && size > 1e-12);
    strengths = next;
  }
  return { strengths, inverse: informationInverse(), gradients: clusters.map(gradientOf) };
}

/** A maximum exists where everybody is reached from everybody over wins, to which a tie adds in both directions (Ford 1957). */
function assertIdentified({ players, fought }: Indexed): void {
  for (const forward of [true, false]) {
    const reached = new Set([0]);
    for (const player of reached) {
      for (const { a, b, score } of fought) {
        const [winner, loser] = forward ? [a, b] : [b, a];
        if (winner === player && score > 0) reached.add(loser);
        if (loser === player && score < 1) reached.add(winner);
      }
    }
    if (reached.size === players.length) continue;
    const [some, others] = [true, false].map((is) =>
      players
        .filter((_, p) => reached.has(p) === is)
        .map((name) => `"${name}"`)
        .join(', '),
    ) as [string, string];
    const [winners, losers] = forward ? [others, some] : [some, others];
    throw new EvaluationError(
      'NOT_IDENTIFIED',
      `bradleyTerry: ${losers} never won against ${winners}, so that ratings have no maximum. Judge more pairs, or rate them apart.`,
    );
  }
}
