import { type Given, number, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { type Battle, byRating, indexed, type Rating } from './battle.js';
import { bootstrapShape, quantile } from './paired-bootstrap.js';

const eloOptions = options('elo', {
  /** K, the most points that one battle moves. Default 4. */
  k: number({ default: 4, above: 0 }),
  /** Rating of everybody before the first battle. Default 1000. */
  initial: number({ default: 1000 }),
  ...bootstrapShape,
});
/** Options of `elo`. */
export type EloOptions = Given<typeof eloOptions>;

/**
 * Online Elo ratings (Elo 1978; of arenas, arXiv 2306.05685): battle by battle, in their order,
 *
 *   R_a ← R_a + K (s − 1 / (1 + 10^((R_b − R_a) / 400))),  and R_b loses what R_a wins
 *
 * Late battles count for more, and the order matters: `bradleyTerry` is for players that do not change. The interval is that of the bootstrap: whole
 * clusters are drawn with replacement, in random order; the standard error is the deviation of those ratings. The highest rating comes first.
 *
 * @throws OptionError; EvaluationError `BAD_BATTLE`
 */
export function elo(battles: readonly Battle[], given: EloOptions = {}): Rating[] {
  const { k, initial, resamples, seed, level } = eloOptions.read(given);
  const { players, fought, clusters, counts } = indexed('elo', battles);
  const ratingsAfter = (units: Iterable<readonly number[]>): number[] => {
    const ratings = new Array<number>(players.length).fill(initial);
    for (const unit of units) {
      for (const i of unit) {
        const { a, b, score } = fought[i]!;
        const surplus = k * (score - 1 / (1 + 10 ** ((ratings[b]! - ratings[a]!) / 400)));
        ratings[a]! += surplus;
        ratings[b]! -= surplus;
      }
    }
    return ratings;
  };
  const final = ratingsAfter([fought.map((_, i) => i)]);
  const isKnown = clusters.length >= 2;
  const drawn = players.map(() => new Float64Array(isKnown ? resamples : 0));
  const random = createRandom(seed, 'elo');
  for (let r = 0; isKnown && r < resamples; r++) {
    const units = clusters.map(() => clusters[random.integer(0, clusters.length - 1)]!);
    ratingsAfter(units).forEach((rating, p) => {
      drawn[p]![r] = rating;
    });
  }
  const tail = (1 - level) / 2;
  return byRating(
    players.map((player, p): Rating => {
      const own = drawn[p]!.sort();
      const mean = own.reduce((sum, x) => sum + x, 0) / own.length;
      const squares = own.reduce((sum, x) => sum + (x - mean) ** 2, 0);
      return {
        ...{ player, rating: final[p]!, battles: counts[p]! },
        standardError: isKnown && resamples > 1 ? Math.sqrt(squares / (resamples - 1)) : null,
        interval: isKnown ? [quantile(own, tail), quantile(own, 1 - tail)] : null,
      };
    }),
  );
}
