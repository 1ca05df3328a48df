import { concat, currentEngine, type Tensor, tensor, valueAndGrad, where } from '@posttrain/core-tensor';
import {
  type ForwardPass,
  type Loss,
  predictions,
  type Read,
  type Readout,
  type ReadoutValue,
  type TeacherModel,
  type TrainingRow,
} from '@posttrain/training';
import { type AnyPreferenceLoss, liftPreferenceLoss } from '../preference/lift-preference-loss.js';
import { annotatePairs, coupledPairs, type PreferenceLoss } from '../preference/preference-loss.js';
import { annotateRankings } from '../preference/ranked-loss.js';
import { annotateUnpaired, type UnpairedStep } from '../preference/unpaired-loss.js';

/** A completion of which it is given what policy and reference think of each token. */
export interface ScriptedCompletion {
  readonly logProbs: readonly number[];
  /** Left out: no reference is given. */
  readonly reference?: readonly number[] | undefined;
  /** log π of the prompt's tokens but for the first. Default: none, of a prompt of one token. */
  readonly prompt?: readonly number[];
  readonly entropies?: readonly number[];
  /** What readouts of one number a prediction give, by their names. Default: what they are of the distributions below. */
  readonly readouts?: Readonly<Record<string, readonly number[]>>;
}

/** The completions of a prompt: pairs as [chosen, rejected], single ones with their labels, rankings with their scores. */
export interface ScriptedPreference {
  readonly completions: readonly ScriptedCompletion[];
  /** Default: the first is the best, the last the worst. A label is a score above 0.5. */
  readonly scores?: readonly number[];
  /** Of the columns that the loss names. Default: 1 each; of a single completion its score. */
  readonly columns?: Readonly<Record<string, number>>;
}

/** How a step is laid out in memory, which may change nothing. */
export interface Layout {
  /** Empty columns behind the longest row. Default 0. */
  readonly width?: number;
  /** Groups of empty rows. Default 0. */
  readonly groups?: number;
  /** Of the reference point of single completions. Default: 0.1 for each. */
  readonly mismatched?: readonly number[];
  /** Numbers of the step before. Default: there was none. */
  readonly previous?: Readonly<Record<string, number>>;
}

/**
 * What readouts over the vocabulary see of a scripted completion: a vocabulary of three tokens, of which the second is the one that
 * follows, with its probability; the first has 0.7 of what is left, and the third 0.3. So it is of policy and reference.
 */
const REST = [0.7, 0.3] as const;

/** A preference loss with its gradient at log-probabilities that are given. */
export interface EvaluatedPreference {
  readonly loss: number;
  /** Of every completion, in order: ∂L/∂log π of the prompt's tokens and its own. */
  readonly gradient: readonly (readonly number[])[];
  readonly metrics: Readonly<Record<string, number>>;
}

const zeros = (count: number) => new Array<number>(count).fill(0);
const placeholder = (values: readonly unknown[]) => values.map(() => 1);

/** The rows of scripted preferences as the loss wants them. */
function rowsFor(loss: AnyPreferenceLoss, preferences: readonly ScriptedPreference[]): TrainingRow[] {
  const worth = ({ completions, scores }: ScriptedPreference) =>
    scores ?? completions.map((_, i) => 1 - i / (completions.length - 1 || 1));
  const promptOf = ({ completions: [first] }: ScriptedPreference) => [1, ...placeholder(first!.prompt ?? [])];
  if (loss.kind === 'ranked') {
    const rankings = preferences.map((preference) => ({
      promptTokens: promptOf(preference),
      completions: preference.completions.map(({ logProbs }) => placeholder(logProbs)),
      scores: worth(preference),
      ...(loss.reference !== false && { references: preference.completions.map(({ reference }) => reference!) }),
    }));
    return annotateRankings(rankings);
  }
  if (loss.kind === 'unpaired') {
    const all = preferences.flatMap((preference) =>
      preference.completions.map(({ logProbs, reference }, i) => ({
        promptTokens: promptOf(preference),
        completionTokens: placeholder(logProbs),
        desirable: worth(preference)[i]! > 0.5,
        reference: reference!,
        columns: columnsFor(loss.columns, preference.columns, worth(preference)[i]!),
      })),
    );
    return annotateUnpaired(all, loss);
  }
  return annotatePairs(pairsOf(preferences, loss), loss);
}

const columnsFor = (names: readonly string[] = [], given: ScriptedPreference['columns'] = {}, value = 1) => ({
  ...Object.fromEntries(names.map((name) => [name, value])),
  ...given,
});

const pairsOf = (preferences: readonly ScriptedPreference[], { columns: names }: PreferenceLoss) =>
  preferences.map(({ completions: [chosen, rejected], columns }) => ({
    columns: columnsFor(names, columns),
    promptTokens: [1, ...placeholder(chosen!.prompt ?? [])],
    chosenTokens: placeholder(chosen!.logProbs),
    rejectedTokens: placeholder(rejected!.logProbs),
    ...(chosen!.reference && { reference: { chosen: chosen!.reference, rejected: rejected!.reference! } }),
  }));

/** A preference loss of any kind where policy and reference are given as numbers. It runs on the current engine. */
export async function evaluatePreference(
  preference: AnyPreferenceLoss,
  preferences: readonly ScriptedPreference[],
  layout: Layout = {},
): Promise<EvaluatedPreference> {
  if (preference.kind !== 'unpaired' && preference.kind !== 'ranked' && preference.coupled) {
    const pairs = pairsOf(preferences, preference);
    return evaluateCoupled(coupledPairs(preference, pairs), preferences, annotatePairs(pairs, preference));
  }
  const rows = rowsFor(preference, preferences);
  const network = scriptedNetwork();
  let reference: TeacherModel | undefined;
  const loss: Loss = liftPreferenceLoss(preference, { reference: () => reference! });
  const all = preferences.flatMap(({ completions }) => completions);
  const width = Math.max(...rows.map(({ tokens }) => tokens.length - 1)) + (layout.width ?? 0);
  const size = loss.groupSize === 2 ? 2 : 1;
  const height = rows.length + size * (layout.groups ?? 0);
  const grid = (values: readonly ArrayLike<number>[], columns = width) => {
    const padded = Array.from({ length: height }, (_, i) => Array.from(values[i] ?? []));
    const flat = padded.flatMap((row) => [...row, ...zeros(columns - row.length)]);
    return tensor(Float32Array.from(flat), [height, columns]);
  };
  const annotations = Object.fromEntries(
    loss.annotations.map((spec) => {
      const { name, per } = typeof spec === 'string' ? { name: spec, per: 'prediction' } : spec;
      const values = rows.map(({ annotations: own }) => own![name]!);
      return [name, per === 'row' ? grid(values, 1).squeeze(1) : grid(values)];
    }),
  );
  const mismatchedLogRatios = async () => layout.mismatched ?? all.map(() => 0.1);
  const sum = (values: readonly number[] = []) => values.reduce((a, b) => a + b, 0);
  const logRatios = async () => all.map(({ logProbs, reference: other }) => sum(logProbs) - sum(other));
  const step: UnpairedStep = { mismatchedLogRatios, logRatios, previous: layout.previous, isEvaluation: false };
  const before = preference.kind === 'unpaired' ? await preference.before?.(step) : undefined;
  const numbers = before ?? {};
  const scalars = Object.fromEntries(Object.entries(numbers).map(([name, x]) => [name, tensor([x], [])]));
  const groupOf = rows.map(({ group }) => Number(group) + 1);
  const groups = tensor([...groupOf, ...zeros(height - rows.length)], [height], 'int32');
  const weights = grid(rows.map((row) => row.weights));
  const lengths = Array.from({ length: height }, (_, i) => (rows[i] ? rows[i].weights.length + 1 : 0));
  const sequences = lengths.flatMap((length) => Array.from({ length: width + 1 }, (_, t) => Number(t < length)));
  const segments = tensor(Int32Array.from(sequences), [height, width + 1], 'int32');
  const entropies = grid(all.map(({ prompt = [], entropies: own = [] }) => [...zeros(prompt.length), ...own]));
  const names = Object.keys(all[0]!.readouts ?? {});
  const scripted = Object.fromEntries(
    names.map((name) => [
      name,
      grid(all.map(({ prompt = [], readouts }) => [...zeros(prompt.length), ...readouts![name]!])),
    ]),
  );
  const { value, gradient } = valueAndGrad((logProbs: Tensor) => {
    const seen = { logProbs, entropies, isGreedy: logProbs.mul(0), logSumExps: logProbs.mul(0) };
    const inputs = { weights, segments, annotations, scalars, ...(loss.groupSize === 'any' && { groups }) };
    const mask = weights.notEqual(0);
    if (annotations.reference_log_probs)
      reference = { network, weights: { states: statesOf(annotations.reference_log_probs, mask) } };
    const tokens = tensor(new Int32Array(height * (width + 1)).fill(1), [height, width + 1], 'int32');
    const batch = { tokens, positions: tokens, segments, weights, annotations };
    const { read } = scriptedPass({ network, weights: { states: statesOf(logProbs, mask) }, batch }, (readout) =>
      readout === predictions() ? seen : scripted[(readout as Readout<Tensor>).name],
    );
    const { loss: total, metrics } = loss.computeFrom(read, inputs);
    return [total, metrics] as const;
  })(grid(all.map(({ prompt = [], logProbs }) => [...prompt, ...logProbs])));
  const slopes = await gradient.toArray();
  return {
    ...(await numbersOf(value[0], value[1])),
    gradient: all.map(({ prompt = [], logProbs }, i) =>
      slopes.slice(i * width, i * width + prompt.length + logProbs.length),
    ),
  };
}

/** Logits are the hidden states, which are weights. */
const scriptedNetwork = () =>
  ({
    engine: currentEngine(),
    hidden: (weights: { readonly states: Tensor }) => weights.states,
    outputLayer: (_: unknown, states: Tensor) => ({ states, matrix: tensor([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]) }),
  }) as unknown as TeacherModel['network'];

/** Log-probabilities [n, t + 1, 3] of the vocabulary, of those of the tokens that follow; the last predicts nothing. */
function statesOf(logProbs: Tensor, mask: Tensor): Tensor {
  const own = where(mask, logProbs, -1);
  const left = own.exp().neg().add(1).log();
  const [first, third] = REST.map((share) => left.add(Math.log(share)));
  const states = concat(
    [first!, own, third!].map((x) => x.expandDims(2)),
    2,
  );
  return concat([states, states.slice(1, 0, 1).mul(0)], 1);
}

/** A pass over scripted states, whose readouts are computed unless they are given. */
function scriptedPass(
  parts: Pick<ForwardPass, 'network' | 'weights' | 'batch'>,
  given: (readout: object) => ReadoutValue | undefined,
): ForwardPass {
  const read = ((readout: Readout<ReadoutValue>) => given(readout) ?? readout.compute(pass)) as Read;
  const pass: ForwardPass = {
    ...{ ...parts, hooks: {}, hidden: parts.weights.states!, read },
    again: () => pass,
    beside: (other) => scriptedPass({ ...parts, ...other }, () => undefined),
  };
  return pass;
}

/** Every token of a completion has the slope of their sum. */
async function evaluateCoupled(
  loss: ReturnType<typeof coupledPairs>,
  preferences: readonly ScriptedPreference[],
  rows: readonly TrainingRow[],
): Promise<EvaluatedPreference> {
  const all = preferences.flatMap(({ completions }) => completions);
  const sums = all.map(({ logProbs }) => logProbs.reduce((a, b) => a + b, 0));
  const { value, gradient } = valueAndGrad((x: Tensor) => {
    const { loss: total, metrics } = loss.compute(x, rows);
    return [total, metrics] as const;
  })(tensor(Float32Array.from(sums), [sums.length]));
  const slopes = await gradient.toArray();
  return {
    ...(await numbersOf(value[0], value[1])),
    gradient: all.map(({ prompt = [], logProbs }, i) => [...zeros(prompt.length), ...logProbs.map(() => slopes[i]!)]),
  };
}

async function numbersOf(loss: Tensor, metrics: Readonly<Record<string, Tensor>>) {
  const named = Object.entries(metrics).map(async ([name, x]) => [name, await x.item()] as const);
  return { loss: await loss.item(), metrics: Object.fromEntries(await Promise.all(named)) };
}
