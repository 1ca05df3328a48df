import { custom, type ScorerTrainer, type TrainableRow } from '@posttrain/interfaces';

/** Trains models on parts of the rows: `sftScorerTrainer(…)` of `@posttrain/training`, say. */
export const trainerOption = custom<ScorerTrainer>()(
  'a trainer of scorers ({ name, train(rows, options) })',
  (value) => typeof (value as Partial<ScorerTrainer> | null)?.train === 'function',
  {},
);

/** A list of rows that scorers are trained on or asked about, not empty. */
export const isRows = (value: unknown): boolean => Array.isArray(value) && value.length > 0;

/** Such a list as an option that must be given. */
export const rowsOption = custom<readonly TrainableRow[]>()('a list of { prompt, completion }', isRows, {});
