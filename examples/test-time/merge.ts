import type { ScalingRow } from '@posttrain/eval';
import { PosttrainError } from '@posttrain/interfaces';
import type { Study } from './study.js';

/** The curves of a study, seed by seed. */
export function curvesOf({ baselines, rows }: Study, seeds: number): ScalingRow[][] {
  const had = rows[0]?.overBestOfN.count;
  if (had !== seeds || baselines.length % seeds !== 0) {
    throw new PosttrainError('SEEDS', `the study is of ${had} seeds and not of ${seeds}; give the seeds that it had`);
  }
  const size = baselines.length / seeds;
  return Array.from({ length: seeds }, (_, s) => baselines.slice(s * size, (s + 1) * size));
}

/** The arm that a study has to run again when others are added to it: that of fewest tokens. */
export const controlOf = ({ rows }: Study): string => rows.reduce((a, b) => (b.tokens < a.tokens ? b : a)).strategy;

/**
 * A study with the rows of further arms, which were run with its curves and its control. Its choosers stay as they were, of the arms that
 * it had.
 *
 * @throws PosttrainError where the control is not what it was, so that model, task or verifier are not the same
 */
export function added(before: Study, ran: Study): Study {
  const key = ({ strategy, n }: Study['rows'][number]) => `${strategy} n=${n}`;
  const control = controlOf(before);
  const rows = new Map(before.rows.map((row) => [key(row), row]));
  for (const row of ran.rows.filter(({ strategy }) => strategy === control)) {
    const was = rows.get(key(row));
    if (was?.accuracy.value !== row.accuracy.value || was.tokens !== row.tokens) {
      const seen = `${row.accuracy.value} at ${row.tokens} tokens`;
      const expected = was ? `${was.accuracy.value} at ${was.tokens}` : 'no such width';
      throw new PosttrainError('CONTROL', `${key(row)} has ${seen} here, ${expected} in the study: run all of it anew`);
    }
  }
  for (const row of ran.rows) if (row.strategy !== control) rows.set(key(row), row);
  const { tradeOffs: _, ...kept } = before;
  return { ...kept, rows: [...rows.values()] };
}
