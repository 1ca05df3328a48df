import { createRandom } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { type Annotated, type AnnotateOptions, type AnnotationLedger, annotate } from './annotate.js';

/** What is known after a round. */
export interface ActiveRound<Model> {
  readonly round: number;
  readonly model: Model;
  /** Rows that are labelled so far. */
  readonly labelled: number;
  /** What all labels so far have cost. */
  readonly ledger: AnnotationLedger;
  /** What `evaluate` said of the model; absent without it. */
  readonly value?: number;
  /** What the model says of the rows of `watch`; absent without it. */
  readonly answers?: readonly string[];
}

/** Says why a loop ends, or `null`. */
export type StoppingRule = (rounds: readonly ActiveRound<unknown>[]) => string | null;

/** When to stop labelling. */
export const stoppingRules = {
  /** So many labels, or so much money. */
  budget:
    ({
      labels = Number.POSITIVE_INFINITY,
      cost = Number.POSITIVE_INFINITY,
    }: {
      labels?: number;
      cost?: number;
    }): StoppingRule =>
    (rounds) => {
      const last = rounds.at(-1)!;
      return last.labelled >= labels ? 'the labels are spent' : last.ledger.cost >= cost ? 'the money is spent' : null;
    },
  /** The value has not risen by more than `least` over the best before, for `patience` rounds. */
  plateau:
    ({ patience = 3, least = 0 }: { patience?: number; least?: number } = {}): StoppingRule =>
    (rounds) => {
      const values = rounds.map(({ value }) => value ?? Number.NaN);
      if (values.length <= patience) return null;
      const before = Math.max(...values.slice(0, -patience));
      return values.slice(-patience).every((value) => value <= before + least) ? 'the value does not rise' : null;
    },
  /** Two models in a row agree on `watch`, Cohen's κ of at least `kappa`, for `patience` rounds (stabilising predictions, Bloodgood and Vijay-Shanker 2009). */
  stable:
    ({ kappa = 0.99, patience = 3 }: { kappa?: number; patience?: number } = {}): StoppingRule =>
    (rounds) => {
      const answers = rounds.map((one) => one.answers ?? []);
      if (answers.length <= patience) return null;
      const last = answers.slice(-patience - 1);
      return last.slice(1).every((own, i) => agreement(last[i]!, own) >= kappa) ? 'the predictions are stable' : null;
    },
} as const;

/** Cohen's κ of two lists of labels; 1 where they are all alike. */
export function agreement(some: readonly string[], others: readonly string[]): number {
  if (some.length !== others.length || some.length === 0) return Number.NaN;
  const share = (list: readonly string[], label: string) => list.filter((one) => one === label).length / list.length;
  const observed = some.filter((one, i) => one === others[i]).length / some.length;
  const expected = [...new Set([...some, ...others])].reduce(
    (sum, label) => sum + share(some, label) * share(others, label),
    0,
  );
  return expected === 1 ? 1 : (observed - expected) / (1 - expected);
}

/** The parts of a loop of active learning. */
export interface ActiveLearningOptions<Row, Label, Model> {
  readonly pool: readonly Row[];
  /** Trains, or for in-context learning puts together, a model of all labelled rows. */
  readonly train: (rows: readonly Annotated<Row, Label>[], round: number) => Promise<Model> | Model;
  /** Which of the rows that are left are to be labelled, by index: the most useful first. */
  readonly select: (
    model: Model,
    rows: readonly Row[],
    count: number,
    round: number,
  ) => Promise<readonly number[]> | readonly number[];
  readonly annotate: AnnotateOptions<Row, Label>;
  /** Rows that are labelled before there is a model, drawn by the seed. Default: `batch`. */
  readonly start?: number;
  /** Rows of each round. */
  readonly batch: number;
  /** Each is asked after every round; the first that says something ends the loop. It also ends where no rows are left. */
  readonly stop: readonly StoppingRule[];
  readonly evaluate?: (model: Model) => Promise<number> | number;
  /** What the model says of rows whose answers are watched for `stoppingRules.stable`. */
  readonly watch?: (model: Model) => Promise<readonly string[]> | readonly string[];
  readonly seed?: number;
}

/**
 * Active learning with language models (arXiv 2502.11767): label some rows, train, choose the next ones with the model, until a rule stops it. The loop is the same for in-context examples (`train` builds a prompt), fine-tuning, preference
 * pairs (labels are verdicts) and distillation (labels are a teacher's answers).
 *
 * @throws DataOptionError for a selection that is not of the rows that are left, and numbers of rows that are none
 */
export async function activeLearning<Row, Label, Model>({
  pool,
  train,
  select,
  annotate: labelling,
  batch,
  start = batch,
  stop,
  evaluate,
  watch,
  seed = 0,
}: ActiveLearningOptions<Row, Label, Model>): Promise<{
  readonly rounds: readonly ActiveRound<Model>[];
  readonly labelled: readonly Annotated<Row, Label>[];
  readonly stopped: string;
}> {
  if (!Number.isSafeInteger(batch) || batch < 1 || !Number.isSafeInteger(start) || start < 0)
    throw new DataOptionError(
      'activeLearning',
      `batch must be at least 1 and start at least 0, got ${batch}, ${start}.`,
    );
  let left = createRandom(seed, 'active learning').shuffled(pool);
  let chosen = left.slice(0, start);
  left = left.slice(start);
  const labelled: Annotated<Row, Label>[] = [];
  const rounds: ActiveRound<Model>[] = [];
  let ledger: AnnotationLedger = { human: 0, model: 0, tokens: 0, cost: 0 };
  for (let round = 0; ; round++) {
    const made = await annotate(chosen, labelling);
    labelled.push(...made.rows);
    ledger = {
      human: ledger.human + made.ledger.human,
      model: ledger.model + made.ledger.model,
      tokens: ledger.tokens + made.ledger.tokens,
      cost: ledger.cost + made.ledger.cost,
    };
    const model = await train(labelled, round);
    rounds.push({
      ...{ round, model, labelled: labelled.length, ledger },
      ...(evaluate && { value: await evaluate(model) }),
      ...(watch && { answers: await watch(model) }),
    });
    const why =
      stop.map((rule) => rule(rounds)).find((one) => one !== null) ?? (left.length === 0 ? 'no rows are left' : null);
    if (why !== null) return { rounds, labelled, stopped: why };
    const count = Math.min(batch, left.length);
    const picked = await select(model, left, count, round);
    const isGood =
      new Set(picked).size === picked.length && picked.length === count && picked.every((i) => left[i] !== undefined);
    if (!isGood)
      throw new DataOptionError(
        'activeLearning',
        `select must return ${count} different indices below ${left.length}, got ${picked.join(', ')}.`,
      );
    chosen = picked.map((i) => left[i]!);
    const taken = new Set(picked);
    left = left.filter((_, i) => !taken.has(i));
  }
}
