import type { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import type { FeatureMap } from './principal-components.js';
import { digitsOf, rescalingShape, serializeSeries } from './serialize-series.js';
import { type CellMasses, quantile, statisticsOf } from './series-distribution.js';
import { SeriesError, widthOf } from './series-error.js';
import type { SeriesModel } from './series-model.js';

/** Options of every way to predict by a model of series. */
export const dynamicsShape = {
  model: custom<SeriesModel>()(
    'a model of series ({ name, predict }; languageSeriesModel makes one of a language model)',
    (value) => typeof (value as Partial<SeriesModel> | null)?.predict === 'function',
    { settings: ({ name }) => name },
  ),
  ...rescalingShape,
};

/** What a model of series says of the rows that follow. Entry t is of row t + 1, given the rows up to t. */
export interface PredictedRows {
  /** Means [rows][features]. */
  readonly mean: readonly (readonly number[])[];
  /** From the likeliest cells, [rows][features]. */
  readonly mode: readonly (readonly number[])[];
  /** Standard deviations [rows][features] of `mean`, the components being independent. */
  readonly std: readonly (readonly number[])[];
  /** `count` rows [count][features] drawn from what is said of row t + 1, the components independently. */
  draw(t: number, count: number, key: Key): number[][];
  /** The distributions of the components: [rows][components]. */
  readonly components: readonly (readonly RescaledDistribution[])[];
}

/** A distribution over [0, 10), and what a number of it stands for. */
export interface RescaledDistribution {
  readonly masses: CellMasses;
  /** From [0, 10) to a component. */
  restore(rescaled: number): number;
}

const forecastOptions = options('forecast', {
  /** Rows. */
  steps: integer({ min: 1 }),
});
/** Options of `forecast`. */
export type ForecastOptions = Given<typeof forecastOptions>;

/** Predicts rows of numbers from those before them. */
export interface InContextDynamics {
  readonly name: string;
  /**
   * What follows each of the rows [n][features]: n predictions, of which the last is of a row that is not there yet.
   * @throws SeriesError for fewer than two rows, of other widths, or not finite
   */
  predict(rows: readonly ArrayLike<number>[]): Promise<PredictedRows>;
  /**
   * The rows that follow the last one, each predicted mean being read as if it had come.
   * @throws SeriesError as `predict`, and where the model's context ends
   */
  forecast(rows: readonly ArrayLike<number>[], given: ForecastOptions): Promise<number[][]>;
}

interface Settings {
  readonly model: SeriesModel;
  readonly digits: number;
  readonly rescaleFactor: number;
  readonly upShift: number;
}

/**
 * A model of series over components of rows, each component a series of its own (arXiv 2410.11711, equation 3): P(s') = φ⁻¹(Π_j P(z'_j | z_j)).
 *
 * @param mapOf φ, of the rows of the context
 */
export function inContextDynamics(
  name: string,
  { model, ...rescaling }: Settings,
  mapOf: (rows: readonly ArrayLike<number>[]) => FeatureMap,
): InContextDynamics {
  const { digits } = rescaling;
  const ask = async (series: readonly (readonly (readonly number[])[])[], after: 'every' | 'last') => {
    const found = await model.predict(series, { digits, after });
    const isWhole =
      found.length === series.length &&
      found.every((own, c) => own.length === (after === 'last' ? 1 : series[c]!.length));
    if (!isWhole || found.some((own) => own.some((masses) => masses.length !== 10 ** digits)))
      throw new SeriesError(
        name,
        `${model.name} must give ${10 ** digits} masses for every number that is asked about`,
      );
    return found;
  };
  const contextOf = (rows: readonly ArrayLike<number>[]) => {
    widthOf(name, rows, 2);
    const map = mapOf(rows);
    const components = rows.map((row) => map.transform(row));
    const series = Array.from({ length: map.components }, (_, c) =>
      serializeSeries(
        components.map((row) => row[c]!),
        rescaling,
      ),
    );
    return { map, series };
  };
  return {
    name,
    async predict(rows) {
      const { map, series } = contextOf(rows);
      const found = await ask(
        series.map(({ digits }) => digits),
        'every',
      );
      const components = rows.map((_, t) => series.map(({ restore }, c) => ({ masses: found[c]![t]!, restore })));
      const statistics = components.map((own) => own.map(({ masses }) => statisticsOf(masses)));
      const through = (t: number, of: (c: number) => number) =>
        map.inverse(components[t]!.map(({ restore }, c) => restore(of(c))));
      const mean = rows.map((_, t) => through(t, (c) => statistics[t]![c]!.mean));
      return {
        ...{ mean, components },
        mode: rows.map((_, t) => through(t, (c) => statistics[t]![c]!.mode)),
        std: rows.map((_, t) => {
          // φ⁻¹ is affine: a component that is moved by its deviation moves each feature by its part of it.
          const squares = mean[t]!.map(() => 0);
          statistics[t]!.forEach(({ mean: m, std }, c) => {
            const moved = through(t, (other) => (other === c ? m + std : statistics[t]![other]!.mean));
            moved.forEach((value, j) => {
              squares[j]! += (value - mean[t]![j]!) ** 2;
            });
          });
          return squares.map(Math.sqrt);
        }),
        draw: (t, count, key) => {
          const uniforms = key.uniformHost(count * series.length);
          return Array.from({ length: count }, (_, i) =>
            through(t, (c) => quantile(components[t]![c]!.masses, uniforms[i * series.length + c]!)),
          );
        },
      };
    },
    async forecast(rows, given) {
      const { steps } = forecastOptions.read(given);
      const { map, series } = contextOf(rows);
      const grown = series.map(({ digits }) => [...digits]);
      const result: number[][] = [];
      for (let step = 0; step < steps; step++) {
        const found = await ask(grown, 'last');
        const means = found.map(([masses]) => statisticsOf(masses!).mean);
        result.push(map.inverse(means.map((mean, c) => series[c]!.restore(mean))));
        for (const [c, mean] of means.entries()) grown[c]!.push(digitsOf(mean, digits));
      }
      return result;
    },
  };
}
