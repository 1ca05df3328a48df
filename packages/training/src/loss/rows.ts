import { type Tensor, tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, adapterFor, assertTokenIds, NO_ADAPTER, type RowInputs } from '@posttrain/lm';
import { type Annotation, type AnnotationSpec, annotationSpec } from './annotation.js';

/** Numbers that a model reads beside a row's tokens or in their place: states, returns, embeddings of images. */
export interface RowInput {
  /** `width` numbers for every token of the row, which stand one after the other. */
  readonly data: ArrayLike<number>;
  readonly width: number;
  /** Default `float32`. */
  readonly dtype?: 'float32' | 'int32';
}

/**
 * One row of training: a token sequence, and for every prediction in it what an algorithm wants to say. Entry t of
 * every per-prediction array belongs to predicting `tokens[t + 1]`, so they are one shorter than the tokens.
 */
export interface TrainingRow {
  /** Of a model that reads `inputs` only, as many zeros as there are places in the sequence. */
  readonly tokens: readonly number[];
  /**
   * What the model reads that is no token, by name; the same names, widths and dtypes in all rows of a call. Default:
   * nothing.
   */
  readonly inputs?: Readonly<Record<string, RowInput>>;
  /** How much each prediction counts, all normalisation included; 0 leaves it out. */
  readonly weights: ArrayLike<number>;
  /**
   * Further numbers by name, as the loss declares them: one a prediction (advantages, reference log-probabilities)
   * unless it says otherwise. Entries of several numbers stand one after the other.
   */
  readonly annotations?: Readonly<Record<string, ArrayLike<number>>>;
  /** Which group the row belongs to, for losses with groups of any size; rows of a group need not follow each other. */
  readonly group?: number | string;
  /** Lengths of the sequences packed into `tokens`, in order; left out: one sequence. They do not see each other. */
  readonly lengths?: readonly number[];
  /**
   * What the adapter reads of the row, beside what it finds in the tokens: `{ taskIds: 2 }` for Poly. Of packed sequences one
   * for each.
   */
  readonly adapterInputs?: RowInputs | readonly RowInputs[];
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
  /** [b, s, width] by name, 0 on padding. Only of rows that have some. */
  readonly inputs?: Readonly<Record<string, Tensor>>;
  /** int32 [b], counted from 1; 0 on padding. Only for losses with groups of any size. */
  readonly groups?: Tensor;
  /** int32 [b, s] each: what an adapter reads of the sequence that each token belongs to. Only for adapters that read some. */
  readonly rowInputs?: Readonly<Record<string, Tensor>>;
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

/** What a loss asks of rows. */
export interface RowNeeds {
  readonly annotations: readonly Annotation[];
  /** Whether a row must be one sequence. */
  readonly wholeRow?: boolean;
}

/** Throws a `TrainingRowError` naming the first row that is malformed, or has not what a loss needs. */
export function checkRows(rows: readonly TrainingRow[], needs: RowNeeds, limits: RowLimits): void {
  const declared = new Map(needs.annotations.map(annotationSpec).map((spec) => [spec.name, spec]));
  rows.forEach((row, i) => {
    checkTokens(row, i, limits);
    checkInputs(row, i, rows[0]!);
    if (needs.wholeRow && (row.lengths?.length ?? 1) > 1) {
      throw new TrainingRowError(
        i,
        `packs ${row.lengths!.length} sequences, and the loss reads one number of a whole row`,
      );
    }
    const predictions = row.tokens.length - 1;
    for (const [name, values] of [['weights', row.weights] as const, ...Object.entries(row.annotations ?? {})]) {
      checkNumbers(name, values, predictions, name === 'weights' ? { per: 'prediction' } : declared.get(name), i);
    }
    const missing = [...declared.keys()].filter((name) => !(name in (row.annotations ?? {})));
    if (missing.length > 0)
      throw new TrainingRowError(i, `lacks the annotation ${missing.join(', ')} that the loss needs`);
    if (!Array.prototype.some.call(row.weights, (weight: number) => weight !== 0)) {
      throw new TrainingRowError(i, 'trains no token: every weight is 0 (check the loss mask and truncation)');
    }
  });
}

function checkTokens(row: TrainingRow, i: number, { maxPositionEmbeddings: context, vocabSize }: RowLimits): void {
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
}

const kindOf = (input: RowInput | undefined): string =>
  input ? `${input.dtype ?? 'float32'} of width ${input.width}` : 'nothing';

/** The inputs of a row, which are those of the first row with other numbers. */
function checkInputs({ inputs = {}, tokens }: TrainingRow, i: number, { inputs: wanted = {} }: TrainingRow): void {
  for (const name of new Set([...Object.keys(wanted), ...Object.keys(inputs)])) {
    const [input, first] = [inputs[name], wanted[name]];
    if (!input || kindOf(input) !== kindOf(first)) {
      throw new TrainingRowError(i, `the input ${name} is ${kindOf(input)}, but in the first row ${kindOf(first)}`);
    }
    const { width, dtype = 'float32', data } = input;
    if (!(Number.isInteger(width) && width > 0))
      throw new TrainingRowError(i, `the input ${name} has the width ${width}`);
    checkNumbers(name, data, tokens.length, { per: 'prediction', width, dtype }, i, 'tokens');
  }
}

/** Numbers of a row. What is not declared may be another loss's, of whatever shape. */
function checkNumbers(
  name: string,
  values: ArrayLike<number>,
  predictions: number,
  spec: Omit<AnnotationSpec, 'name'> | undefined,
  i: number,
  what = 'predictions',
): void {
  const { per, width = 1, dtype = 'float32', range } = spec ?? ({ per: 'prediction' } as Omit<AnnotationSpec, 'name'>);
  const entries = per === 'row' ? 1 : predictions;
  if (spec && values.length !== entries * width) {
    const wanted = per === 'row' ? 'the row' : `${predictions} ${what}`;
    const each = width === 1 ? '' : ` of ${width} numbers each`;
    throw new TrainingRowError(i, `${name} has ${values.length} entries for ${wanted}${each}`);
  }
  for (let t = 0; t < values.length; t++) {
    const value = values[t]!;
    if (!Number.isFinite(value)) throw new TrainingRowError(i, `${name}[${t}] is ${value}`);
    if (dtype === 'int32' && (value | 0) !== value)
      throw new TrainingRowError(i, `${name}[${t}] is ${value}, no int32`);
    if (range && !(value >= range[0] && value <= range[1]))
      throw new TrainingRowError(i, `${name}[${t}] is ${value}, and the loss takes ${range[0]} to ${range[1]}`);
  }
}

/** Rows that stay together, as a loss says it. @throws TrainingRowError, PosttrainError */
function groupsOf(rows: readonly TrainingRow[], groupSize: number | 'any'): TrainingRow[][] {
  if (groupSize !== 'any') {
    if (rows.length % groupSize !== 0) {
      throw new PosttrainError('TRAINING_ROWS', `${rows.length} rows do not make groups of ${groupSize}`);
    }
    return Array.from({ length: rows.length / groupSize }, (_, i) => rows.slice(i * groupSize, (i + 1) * groupSize));
  }
  const byGroup = new Map<number | string, TrainingRow[]>();
  rows.forEach((row, i) => {
    if (row.group === undefined) throw new TrainingRowError(i, 'has no group, which the loss needs');
    const members = byGroup.get(row.group) ?? [];
    members.push(row);
    byGroup.set(row.group, members);
  });
  return [...byGroup.values()];
}

/** What a pass costs beside its tokens, as a share of `maxTokens`: its size may be one to compile, so little padding is no reason for it. */
const SHARE_OF_A_PASS = 0.25;

/**
 * Splits rows into micro-batches of at most `maxTokens` padded tokens (one group may be more); groups stay together. Of the ways to cut
 * the rows in the order of their lengths, the one with the fewest padded tokens, a pass counted as a quarter of `maxTokens` more; of equal
 * ones that whose largest pass is smallest.
 */
export function microBatches(
  rows: readonly TrainingRow[],
  maxTokens: number,
  groupSize: number | 'any',
): (readonly TrainingRow[])[] {
  // Similar lengths together, so that little is padding. The order inside a step does not matter to the sum.
  const sorted = groupsOf(rows, groupSize)
    .map((group) => ({ group, width: roundWidth(Math.max(...group.map((row) => row.tokens.length))) }))
    .sort((a, b) => a.width - b.width);
  /** Of the first groups: how they are cut best, from where the last of their passes begins. */
  const best: { readonly tokens: number; readonly largest: number; readonly start: number }[] = [
    { tokens: 0, largest: 0, start: 0 },
  ];
  for (let end = 1; end <= sorted.length; end++) {
    const { width } = sorted[end - 1]!;
    let found: (typeof best)[number] | undefined;
    let count = 0;
    for (let start = end - 1; start >= 0; start--) {
      count += sorted[start]!.group.length;
      const padded = width * rowsOfGrid(count, groupSize);
      if (start < end - 1 && padded > maxTokens) break;
      const before = best[start]!;
      const tokens = before.tokens + padded + SHARE_OF_A_PASS * maxTokens;
      const largest = Math.max(before.largest, padded);
      const isBetter = !found || tokens < found.tokens || (tokens === found.tokens && largest < found.largest);
      if (isBetter) found = { tokens, largest, start };
    }
    best.push(found!);
  }
  const batches: TrainingRow[][] = [];
  for (let end = sorted.length; end > 0; end = best[end]!.start) {
    batches.unshift(sorted.slice(best[end]!.start, end).flatMap(({ group }) => group));
  }
  return batches;
}

/** Rows of the grid of so many: groups of padding fill up. */
function rowsOfGrid(rows: number, groupSize: number | 'any'): number {
  return groupSize === 'any' ? roundCount(rows) : groupSize * roundCount(rows / groupSize);
}

/**
 * Rows as tensors, padded on the right. `annotations` are those to include; groups of padding rows fill up.
 *
 * @throws PosttrainError for rows that do not say what the adapter reads
 */
export function toBatch(
  rows: readonly TrainingRow[],
  annotations: readonly Annotation[],
  groupSize: number | 'any',
  adapter: Adapter = NO_ADAPTER,
): RowBatch {
  const b = rowsOfGrid(rows.length, groupSize);
  const s = roundWidth(Math.max(...rows.map((row) => row.tokens.length)));
  /** Rows of `width` numbers each, filled up with zeros. */
  const grid = (
    shape: readonly number[],
    dtype: 'float32' | 'int32',
    of: (row: TrainingRow, index: number) => ArrayLike<number>,
  ) => {
    const width = shape.reduce((a, x) => a * x, 1);
    const out = dtype === 'int32' ? new Int32Array(b * width) : new Float32Array(b * width);
    rows.forEach((row, i) => {
      out.set(of(row, i), i * width);
    });
    return tensor(out, [b, ...shape], dtype);
  };
  const perToken = (value: (token: number, segment: number, position: number) => number) =>
    grid([s], 'int32', ({ tokens, lengths = [tokens.length] }) => {
      let t = 0;
      return lengths.flatMap((length, segment) =>
        Array.from({ length }, (_, position) => value(tokens[t++]!, segment + 1, position)),
      );
    });
  const numbers = new Map<TrainingRow['group'], number>();
  const numberOf = ({ group }: TrainingRow) => {
    if (!numbers.has(group)) numbers.set(group, numbers.size + 1);
    return [numbers.get(group)!];
  };
  const annotation = ({ name, per, width, dtype = 'float32' }: AnnotationSpec) => {
    const shape = [...(per === 'row' ? [] : [s - 1]), ...(width === undefined ? [] : [width])];
    return [name, grid(shape, dtype, (row) => row.annotations![name]!)] as const;
  };
  const inputs = Object.entries(rows[0]!.inputs ?? {}).map(([name, { width, dtype = 'float32' }]) => {
    return [name, grid([s, width], dtype, (row) => row.inputs![name]!.data)] as const;
  });
  const inputsOf = new Map(rows.map((row) => [row, inputsOfSequences(row, adapter)]));
  const rowInputs = (adapter.rowInputs?.names ?? []).map((name) => {
    const ofRow = (row: TrainingRow) =>
      inputsOf.get(row)!.flatMap(({ length, inputs }) => filled(length, inputs[name]!));
    return [name, grid([s], 'int32', ofRow)] as const;
  });
  return {
    tokens: perToken((token) => token),
    segments: perToken((_, segment) => segment),
    positions: perToken((_, __, position) => position),
    weights: grid([s - 1], 'float32', (row) => row.weights),
    annotations: Object.fromEntries(annotations.map((given) => annotation(annotationSpec(given)))),
    ...(inputs.length > 0 && { inputs: Object.fromEntries(inputs) }),
    ...(groupSize === 'any' && { groups: grid([], 'int32', numberOf) }),
    ...(rowInputs.length > 0 && { rowInputs: Object.fromEntries(rowInputs) }),
  };
}

const filled = (length: number, value: number): number[] => Array.from({ length }, () => value);

/** @throws TrainingRowError for a sequence that an adapter would train nothing on, which nobody has asked for */
export function refuseIdleRows(rows: readonly TrainingRow[], { rowInputs }: Pick<Adapter, 'rowInputs'>): void {
  if (!rowInputs?.idle) return;
  for (const [i, row] of rows.entries()) {
    for (const { tokens, given } of sequencesOf(row)) {
      const problem = rowInputs.idle(tokens, given);
      if (problem !== undefined) throw new TrainingRowError(i, problem);
    }
  }
}

/** What an adapter reads of each sequence of a row. @throws PosttrainError */
const inputsOfSequences = (
  row: TrainingRow,
  adapter: Adapter,
): readonly { readonly length: number; readonly inputs: RowInputs }[] =>
  sequencesOf(row).map(({ tokens, given }) => {
    return { length: tokens.length, inputs: adapterFor(adapter, tokens, given).inputs ?? {} };
  });

/** The sequences of a row, and what it says of each. @throws PosttrainError */
function sequencesOf({ tokens, lengths = [tokens.length], adapterInputs = [] }: TrainingRow): readonly {
  readonly tokens: readonly number[];
  readonly given: RowInputs;
}[] {
  const given: readonly RowInputs[] = Array.isArray(adapterInputs) ? adapterInputs : [adapterInputs];
  if (given.length > 0 && given.length !== lengths.length) {
    const problem = `adapterInputs are of ${given.length} sequences, but the row has ${lengths.length}`;
    throw new PosttrainError('TRAINING_ROW', problem);
  }
  let from = 0;
  return lengths.map((length, i) => {
    const start = from;
    from += length;
    return { tokens: tokens.slice(start, from), given: given[i] ?? {} };
  });
}
