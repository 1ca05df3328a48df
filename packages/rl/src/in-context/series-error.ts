import { PosttrainError } from '@posttrain/interfaces';

/** A series that cannot be written as digits, or a model that cannot read it. Code `SERIES`. */
export class SeriesError extends PosttrainError {
  constructor(where: string, problem: string) {
    super('SERIES', `${where}: ${problem}`);
  }
}

/** @throws SeriesError naming the first value that is no finite number */
export function assertSeries(where: string, values: ArrayLike<number>): void {
  for (let t = 0; t < values.length; t++) {
    if (!Number.isFinite(values[t])) throw new SeriesError(where, `value ${t} is ${values[t]}; all must be finite`);
  }
}

/** @throws SeriesError unless there are `least` rows or more, all of one width, which is returned */
export function widthOf(where: string, rows: readonly ArrayLike<number>[], least: number): number {
  if (rows.length < least) throw new SeriesError(where, `there are ${rows.length} rows; it needs ${least} or more`);
  const width = rows[0]?.length ?? 0;
  rows.forEach((row, t) => {
    if (row.length !== width)
      throw new SeriesError(where, `row ${t} has ${row.length} numbers, the first has ${width}`);
    assertSeries(`${where}, row ${t}`, row);
  });
  return width;
}
