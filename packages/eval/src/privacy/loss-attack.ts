import { deflateSync } from 'node:zlib';
import { custom, type Given, oneOf, options, type Scorer } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { assertLength } from '../task-kind.js';
import { rowsOption } from './scorer-trainer-options.js';

const isScorer = (value: unknown): boolean => typeof (value as Partial<Scorer> | null)?.score === 'function';

const lossAttackOptions = options('lossAttack', {
  /** The model that is attacked, by what it thinks of texts. */
  target: custom<Scorer>()('a scorer ({ name, score(requests) })', isScorer, { settings: ({ name }) => name }),
  /** Rows of which it is asked whether the target was trained on them. */
  rows: rowsOption,
  /**
   * What the mean log-probability of a token is set against: nothing (`loss`, arXiv 1709.01604), the length of the compressed text (`zlib`), or what another model thinks (`reference`);
   * the last two are of arXiv 2012.07805 §5.
   */
  calibration: oneOf(['loss', 'zlib', 'reference'], { default: 'loss' }),
  /** The other model, of `reference`: one of the same kind that was not trained on the rows. */
  reference: custom<Scorer>()('a scorer', isScorer, { optional: true, settings: ({ name }) => name }),
});
/** Options of `lossAttack`. */
export type LossAttackOptions = Given<typeof lossAttackOptions>;

/**
 * Membership inference from the loss alone, without shadow models: weak, and so a lower bound of what a model gives away; `liraAttack` is stronger.
 *
 * @returns a score for each row, higher where it is more likely a member, for `auroc` and `truePositiveRate`
 * @throws OptionError; EvaluationError `NO_REFERENCE`, `BAD_RESPONSE`
 */
export async function lossAttack(given: LossAttackOptions): Promise<number[]> {
  const { target, rows, calibration, reference } = lossAttackOptions.read(given);
  if ((calibration === 'reference') !== (reference !== undefined))
    throw new EvaluationError(
      'NO_REFERENCE',
      'lossAttack: calibration "reference" and a reference model are given together.',
    );
  const of = async (scorer: Scorer): Promise<number[]> => {
    const scores = await scorer.score(rows.map(({ prompt, completion }) => ({ prompt, continuation: completion })));
    assertLength(scorer.name, 'scores', scores.length, rows.length, 'rows');
    return scores.map(({ logProb, tokens }) => logProb / tokens);
  };
  const own = await of(target);
  if (calibration === 'zlib') return own.map((log, i) => log / deflateSync(rows[i]!.completion).length);
  if (!reference) return own;
  const other = await of(reference);
  return own.map((log, i) => log - other[i]!);
}
