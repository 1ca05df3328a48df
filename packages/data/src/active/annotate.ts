import { DataOptionError } from '../errors.js';

/** A label, with how sure its annotator is of it (0 to 1) and the tokens that it took. */
export interface Annotation<Label> {
  readonly label: Label;
  readonly confidence: number;
  readonly tokens?: number;
}

/** What labels cost: numbers of labels by annotator, tokens of the model, and money where prices are given. */
export interface AnnotationLedger {
  readonly human: number;
  readonly model: number;
  readonly tokens: number;
  readonly cost: number;
}

/** Who labels, and what that costs. */
export interface AnnotateOptions<Row, Label> {
  /** The model's labels, one a row. Leave it out where people label all. */
  readonly model?: (rows: readonly Row[]) => Promise<readonly Annotation<Label>[]>;
  /** People's labels, one a row. Leave it out where the model labels all. */
  readonly human?: (rows: readonly Row[]) => Promise<readonly Label[]>;
  /** Labels of the model that are at least this sure stay; the others are asked of people. Default 0.8. */
  readonly threshold?: number;
  /** Most labels of people for the rows of one call (each round of `activeLearning` is one), the least sure rows first; what is left over keeps the model's label. Default no limit. */
  readonly budget?: number;
  /** Price of one label of people, and of one token of the model. Default 0. */
  readonly prices?: { readonly human?: number; readonly token?: number };
}

/** A row with its label. */
export interface Annotated<Row, Label> {
  readonly row: Row;
  readonly label: Label;
  readonly by: 'human' | 'model';
  /** Of the model, where it was asked. */
  readonly confidence?: number;
}

/**
 * Annotation by people, by a model, or by both (arXiv 2502.11767 §6): the model labels all rows, and those that it is not sure of go to people, the least sure first, as far as the budget goes. The ledger has every label and token.
 *
 * @throws DataOptionError where nobody labels, or somebody returns other numbers of labels
 */
export async function annotate<Row, Label>(
  rows: readonly Row[],
  { model, human, threshold = 0.8, budget = Number.POSITIVE_INFINITY, prices = {} }: AnnotateOptions<Row, Label>,
): Promise<{ readonly rows: readonly Annotated<Row, Label>[]; readonly ledger: AnnotationLedger }> {
  if (!model && !human) throw new DataOptionError('annotate', 'there is nobody who labels: give human, model or both.');
  const guessed = model ? checked('model', await model(rows), rows.length) : null;
  if (guessed === null && rows.length > budget) {
    throw new DataOptionError(
      'annotate',
      `${rows.length} rows are more than the budget of ${budget} labels, and there is no model.`,
    );
  }
  const unsure = [...rows.keys()]
    .filter((i) => human && (guessed === null || !(sureness(guessed[i]!) >= threshold)))
    .sort((a, b) => (guessed === null ? a - b : sureness(guessed[a]!) - sureness(guessed[b]!)))
    .slice(0, budget);
  const asked =
    human && unsure.length > 0 ? checked('human', await human(unsure.map((i) => rows[i]!)), unsure.length) : [];
  const people = new Map(unsure.map((i, at) => [i, asked[at]!]));
  const made = rows.map((row, i): Annotated<Row, Label> => {
    const own = guessed?.[i];
    const known = own && { confidence: own.confidence };
    return people.has(i)
      ? { row, label: people.get(i)!, by: 'human', ...known }
      : { row, label: own!.label, by: 'model', ...known };
  });
  const tokens = (guessed ?? []).reduce((sum, one) => sum + (one.tokens ?? 0), 0);
  const cost = people.size * (prices.human ?? 0) + tokens * (prices.token ?? 0);
  return { rows: made, ledger: { human: people.size, model: rows.length - people.size, tokens, cost } };
}

/** What is no number is not sure at all. */
const sureness = ({ confidence }: Annotation<unknown>): number => (Number.isNaN(confidence) ? -1 : confidence);

function checked<T>(who: string, labels: readonly T[], count: number): readonly T[] {
  if (Array.isArray(labels) && labels.length === count) return labels;
  throw new DataOptionError(
    'annotate',
    `${who} returned ${Array.isArray(labels) ? labels.length : 'no list of'} labels for ${count} rows.`,
  );
}
