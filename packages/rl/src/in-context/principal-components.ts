import { symmetricEigen } from '@posttrain/core-tensor/optim';
import { type Given, integer, options } from '@posttrain/interfaces';
import { SeriesError, widthOf } from './series-error.js';

const componentsOptions = options('principalComponents', {
  /** How many directions are kept. Default: as many as there are features. */
  components: integer({ min: 1, optional: true }),
});
/** Options of `principalComponents`. */
export type PrincipalComponentsOptions = Given<typeof componentsOptions>;

/** An affine map from rows of features to rows of components, and back. */
export interface FeatureMap {
  /** Numbers in a row of components. */
  readonly components: number;
  /** [features] → [components]. */
  transform(row: ArrayLike<number>): number[];
  /** [components] → [features]. With fewer components than features it is the nearest row that they can name. */
  inverse(components: ArrayLike<number>): number[];
}

/** Principal components of rows. */
export interface PrincipalComponents extends FeatureMap {
  /** [features]. */
  readonly mean: readonly number[];
  /** Unit vectors [components][features], the one of the greatest variance first. */
  readonly directions: readonly (readonly number[])[];
  /** Of the rows along each direction, over n − 1. */
  readonly variances: readonly number[];
}

/**
 * Principal component analysis (Pearson, 1901) of rows [n][features]: eigenvectors of their covariance. Of the two signs of a direction it is the one in
 * which its largest entry is positive, as in scikit-learn's `PCA`.
 *
 * @throws OptionError; SeriesError for fewer than two rows, rows of several widths or with a number that is not finite, and for more components than
 *   features
 */
export function principalComponents(
  rows: readonly ArrayLike<number>[],
  given: PrincipalComponentsOptions = {},
): PrincipalComponents {
  const { components } = componentsOptions.read(given);
  const width = widthOf('principalComponents', rows, 2);
  const count = components ?? width;
  if (count > width || width === 0)
    throw new SeriesError(
      'principalComponents',
      `there are ${width} features, of which ${count} components cannot be made`,
    );
  const mean = Array.from({ length: width }, (_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) / rows.length);
  const covariance = new Float64Array(width * width);
  for (const row of rows) {
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++)
        covariance[i * width + j]! += ((row[i]! - mean[i]!) * (row[j]! - mean[j]!)) / (rows.length - 1);
  }
  const { values, vectors } = symmetricEigen(covariance, width);
  const directions = Array.from({ length: count }, (_, c) => {
    const direction = Array.from({ length: width }, (__, i) => vectors[i * width + c]!);
    const largest = direction.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0);
    return largest < 0 ? direction.map((x) => -x) : direction;
  });
  return {
    ...{ mean, directions, components: count, variances: Array.from(values.subarray(0, count)) },
    transform: (row) =>
      directions.map((direction) => direction.reduce((sum, x, j) => sum + x * (row[j]! - mean[j]!), 0)),
    inverse: (own) => mean.map((m, j) => directions.reduce((sum, direction, c) => sum + direction[j]! * own[c]!, m)),
  };
}

/**
 * Features to mean 0 and variance 1 (over n), each by itself, as scikit-learn's `StandardScaler`; one that does not move is only shifted.
 *
 * @throws SeriesError as `principalComponents`, but for one row
 */
export function standardized(rows: readonly ArrayLike<number>[]): FeatureMap {
  const width = widthOf('standardized', rows, 1);
  const mean = Array.from({ length: width }, (_, j) => rows.reduce((sum, row) => sum + row[j]! / rows.length, 0));
  const scale = mean.map((m, j) => {
    const variance = rows.reduce((sum, row) => sum + (row[j]! - m) ** 2 / rows.length, 0);
    return variance > 1e-20 * m * m && variance > 0 ? Math.sqrt(variance) : 1;
  });
  return {
    components: width,
    transform: (row) => mean.map((m, j) => (row[j]! - m) / scale[j]!),
    inverse: (own) => mean.map((m, j) => own[j]! * scale[j]! + m),
  };
}
