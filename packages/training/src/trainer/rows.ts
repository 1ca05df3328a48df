import { type Tensor, tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { assertTokenIds } from '@posttrain/lm';

/**
 * One row of training: a token sequence, and for every prediction in it what an algorithm wants to say. Entry t of
 * every per-prediction array belongs to predicting `tokens[t + 1]`, so they are one shorter than the tokens.
 */
export interface TrainingRow {
  readonly tokens: readonly number[];
  /** How much each prediction counts, all normalisation included; 0 leaves it out. */
  readonly weights: ArrayLike<number>;
  /** Further per-prediction numbers by name: advantages, reference log-probabilities. */
  readonly annotations?: Readonly<Record<string, ArrayLike<number>>>;
  /** Lengths of the sequences packed into `tokens`, in order; left out: one sequence. They do not see each other. */
  readonly lengths?: readonly number[];
}

/** Rows as one padded grid of tensors: b rows, s tokens, s - 1 predictions. */
export interface RowBatch {
  /** int32 [b, s]. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly segments: Tensor;
  /** float32 [b, s - 1]; 0 on padding. */
  readonly weights: Tensor;
  readonly annotations: Readonly<Record<string, Tensor>>;
}

/** A row that cannot be trained on. */
export class TrainingRowError extends PosttrainError {
  constructor(row: number, message: string, options?: ErrorOptions) {
    super('TRAINING_ROW', `training row ${row}: ${message}`, options);
  }
}

/** Widths and row counts are rounded up, so that a few traced graphs serve all batches. */
const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;
const roundWidth = (width: number): number => roundUp(width, width <= 128 ? 16 : 64);
const roundCount = (count: number): number => (count <= 8 ? 2 ** Math.ceil(Math.log2(count)) : roundUp(count, 8));

/** What a model can take. */
export interface RowLimits {
  /** Most tokens in a sequence. */
  readonly maxPositionEmbeddings: number;
  /** Token ids are below this. */
  readonly vocabSize: number;
}

/** Throws a `TrainingRowError` naming the first row that is malformed. `annotations` are the names a loss needs. */
export function checkRows(
  rows: readonly TrainingRow[],
  annotations: readonly string[],
  { maxPositionEmbeddings: context, vocabSize }: RowLimits,
): void {
  rows.forEach((row, i) => {
    const predictions = row.tokens.length - 1;
    if (predictions < 1) throw new TrainingRowError(i, `has ${row.tokens.length} tokens; it needs at least 2`);
    try {
      assertTokenIds(vocabSize, row.tokens, 'tokens');
    } catch (cause) {
      throw new TrainingRowError(i, (cause as Error).message, { cause });
    }
    const wrongLength = row.lengths?.find((length) => !(Number.isInteger(length) && length > 0));
    if (wrongLength !== undefined) throw new TrainingRowError(i, `has ${wrongLength} among its lengths`);
    const longest = Math.max(...(row.lengths ?? [row.tokens.length]));
    if (longest > context) throw new TrainingRowError(i, `has ${longest} tokens but the context holds ${context}`);
    const total = row.lengths?.reduce((a, b) => a + b, 0) ?? row.tokens.length;
    if (total !== row.tokens.length) {
      throw new TrainingRowError(i, `its lengths add up to ${total} but it has ${row.tokens.length} tokens`);
    }
    for (const [name, values] of [['weights', row.weights] as const, ...Object.entries(row.annotations ?? {})]) {
      if (values.length !== predictions) {
        throw new TrainingRowError(i, `${name} has ${values.length} entries for ${predictions} predictions`);
      }
      for (let t = 0; t < predictions; t++) {
        if (!Number.isFinite(values[t]!)) throw new TrainingRowError(i, `${name}[${t}] is ${values[t]}`);
      }
    }
    const missing = annotations.filter((name) => !(name in (row.annotations ?? {})));
    if (missing.length > 0)
      throw new TrainingRowError(i, `lacks the annotation ${missing.join(', ')} that the loss needs`);
    if (!Array.prototype.some.call(row.weights, (weight: number) => weight !== 0)) {
      throw new TrainingRowError(i, 'trains no token: every weight is 0 (check the loss mask and truncation)');
    }
  });
}

/**
 * Splits rows into micro-batches of at most `maxTokens` padded tokens (at least one group each). `groupSize` rows in a
 * row stay together: a loss over pairs has groups of 2.
 */
export function microBatches(
  rows: readonly TrainingRow[],
  maxTokens: number,
  groupSize: number,
): (readonly TrainingRow[])[] {
  if (rows.length % groupSize !== 0) {
    throw new PosttrainError('TRAINING_ROWS', `${rows.length} rows do not make groups of ${groupSize}`);
  }
  const groups = Array.from({ length: rows.length / groupSize }, (_, i) =>
    rows.slice(i * groupSize, (i + 1) * groupSize),
  );
  const widthOf = (group: readonly TrainingRow[]) => Math.max(...group.map((row) => row.tokens.length));
  // Similar lengths together, so that little is padding. The order inside a step does not matter to the sum.
  const sorted = groups
    .map((group) => ({ group, width: roundWidth(widthOf(group)) }))
    .sort((a, b) => a.width - b.width);
  const batches: TrainingRow[][] = [];
  let open: TrainingRow[] = [];
  for (const { group, width } of sorted) {
    if (open.length > 0 && (open.length + groupSize) * width > maxTokens) {
      batches.push(open);
      open = [];
    }
    open.push(...group);
  }
  if (open.length > 0) batches.push(open);
  return batches;
}

/** Rows as tensors, padded on the right. `annotations` are the names to include; groups of padding rows fill up. */
export function toBatch(rows: readonly TrainingRow[], annotations: readonly string[], groupSize: number): RowBatch {
  const groups = rows.length / groupSize;
  const b = groupSize * roundCount(groups);
  const s = roundWidth(Math.max(...rows.map((row) => row.tokens.length)));
  const grid = (width: number, fill: (row: TrainingRow, put: (t: number, value: number) => void) => void) => {
    const out = new Float32Array(b * width);
    rows.forEach((row, i) => {
      fill(row, (t, value) => {
        out[i * width + t] = value;
      });
    });
    return out;
  };
  const integers = (values: Float32Array) => tensor(Int32Array.from(values), [b, s], 'int32');
  const predictions = (of: (row: TrainingRow) => ArrayLike<number>) =>
    tensor(
      grid(s - 1, (row, put) => {
        const values = of(row);
        for (let t = 0; t < values.length; t++) put(t, values[t]!);
      }),
      [b, s - 1],
    );
  const perToken = (value: (token: number, segment: number, position: number) => number) =>
    integers(
      grid(s, (row, put) => {
        let t = 0;
        (row.lengths ?? [row.tokens.length]).forEach((length, segment) => {
          for (let position = 0; position < length; position++, t++)
            put(t, value(row.tokens[t]!, segment + 1, position));
        });
      }),
    );
  return {
    tokens: perToken((token) => token),
    segments: perToken((_, segment) => segment),
    positions: perToken((_, __, position) => position),
    weights: predictions((row) => row.weights),
    annotations: Object.fromEntries(annotations.map((name) => [name, predictions((row) => row.annotations![name]!)])),
  };
}
