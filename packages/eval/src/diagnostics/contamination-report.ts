import { EvaluationError } from '../errors.js';
import { differenceOfMeans } from '../statistics/difference-of-means.js';
import { type PairedBootstrapOptions, type PairedDifference, pairedBootstrap } from '../statistics/paired-bootstrap.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';

/** How far a score rests on what a model has seen. */
export interface CleanGap {
  readonly contaminated: MeanEstimate;
  readonly clean: MeanEstimate;
  /** contaminated − clean. An interval above 0 says that the score is not only ability; items may also differ in difficulty. */
  readonly gap: MeanEstimate;
}

/**
 * The score on contaminated items and on clean ones.
 *
 * @param values the score of each item
 * @param isContaminated of each item, as `ngramContamination` says
 * @throws EvaluationError `UNPAIRED` for lists of other lengths
 */
export function cleanGap(values: readonly number[], isContaminated: readonly boolean[]): CleanGap {
  if (values.length !== isContaminated.length)
    throw new EvaluationError(
      'UNPAIRED',
      `cleanGap: ${values.length} values and ${isContaminated.length} flags; give one of each per item.`,
    );
  const of = (flag: boolean): MeanEstimate =>
    meanWithStandardError(values.filter((_, i) => isContaminated[i] === flag));
  const [contaminated, clean] = [of(true), of(false)];
  return { contaminated, clean, gap: differenceOfMeans(contaminated, clean) };
}

/** How much worse a model is at twins of the items. */
export interface TwinGap extends PairedDifference {
  /** Share of the items that are right whose twin is wrong. `null` where none is right. */
  readonly lost: number | null;
}

/**
 * Perturbed twins: each item beside one of the same difficulty that is not published (other numbers or names in the same template, as GSM-Symbolic, arXiv 2410.05229). A model that
 * has learnt the items by heart is worse at the twins; `difference` is twins − items, paired.
 *
 * @param items the score of each item
 * @param twins the score of its twin
 * @throws OptionError; EvaluationError `UNPAIRED`, `NOT_FINITE`
 */
export function perturbedTwins(
  items: readonly number[],
  twins: readonly number[],
  given: PairedBootstrapOptions = {},
): TwinGap {
  const right = items.flatMap((score, i) => (score === 1 ? [Number(twins[i] !== 1)] : []));
  return {
    ...pairedBootstrap(items, twins, given),
    lost: right.length === 0 ? null : right.reduce((sum, x) => sum + x, 0) / right.length,
  };
}
