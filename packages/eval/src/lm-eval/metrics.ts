import { showValue } from '@posttrain/interfaces';
import { lengthOf } from '@posttrain/interfaces/python';
import { pythonPattern } from '../python/pattern.js';
import { PUNCTUATION } from '../python/text.js';
import type { LmEvalAggregationName, LmEvalValue } from './aggregations.js';
import { type Doc, LmEvalFunction, type LmEvalMetricConfig, type LmEvalTaskConfig, taskError } from './config.js';
import type { Fields } from './fields.js';
import type { Filtered } from './filters.js';

type OutputType = NonNullable<LmEvalTaskConfig['output_type']>;

/** Metrics that the harness itself computes, with how they are aggregated unless the task says. */
const KNOWN: Readonly<Record<OutputType, Readonly<Record<string, LmEvalAggregationName>>>> = {
  loglikelihood: { perplexity: 'perplexity', acc: 'mean' },
  loglikelihood_rolling: {
    word_perplexity: 'weighted_perplexity',
    byte_perplexity: 'weighted_perplexity',
    bits_per_byte: 'bits_per_byte',
  },
  multiple_choice: {
    acc: 'mean',
    acc_norm: 'mean',
    acc_mutual_info: 'mean',
    exact_match: 'mean',
    f1: 'f1',
    mcc: 'matthews_corrcoef',
    brier_score: 'brier_score',
  },
  generate_until: { exact_match: 'mean', bleu: 'bleu', chrf: 'chrf', ter: 'ter' },
};
/** Metrics of a task that names none. */
const DEFAULTS: Readonly<Record<OutputType, readonly string[]>> = {
  loglikelihood: ['perplexity', 'acc'],
  loglikelihood_rolling: ['word_perplexity', 'byte_perplexity', 'bits_per_byte'],
  multiple_choice: ['acc', 'acc_norm'],
  generate_until: ['exact_match'],
};
const EXACT_MATCH_KEYS = ['regexes_to_ignore', 'ignore_case', 'ignore_punctuation', 'ignore_numbers'];

/** A metric of a task, as it was read. */
export interface MetricSpec {
  readonly name: string;
  readonly aggregation: LmEvalAggregationName | ((values: readonly LmEvalValue[]) => number);
  readonly higherIsBetter: boolean;
  /** Of answers in texts: the value of one against one target. */
  readonly score?: ((gold: string, answer: string) => LmEvalValue) | undefined;
}

/** Reads `metric_list`. @throws EvaluationError `LM_EVAL_TASK` for a metric, argument or aggregation that is not carried over */
export function metricSpecs(config: LmEvalTaskConfig, fields: Fields): MetricSpec[] {
  const { output_type: type = 'generate_until' } = config;
  const given: readonly LmEvalMetricConfig[] = config.metric_list ?? DEFAULTS[type].map((metric) => ({ metric }));
  return given.map(({ metric, aggregation, higher_is_better: higher, ...rest }) => {
    const name = metric instanceof LmEvalFunction ? metric.name.split('.').at(-1)! : metric;
    const known = Object.hasOwn(KNOWN[type], name) ? KNOWN[type][name] : undefined;
    const own = metric instanceof LmEvalFunction ? fields.function<LmEvalValue>(metric, 'metric') : undefined;
    if (known === undefined && own === undefined && config.process_results === undefined) {
      const names = Object.keys(KNOWN[type]).join(', ');
      throw taskError(
        config,
        `the metric ${showValue(metric)} of ${type} is not carried over; there are ${names}, and !function.`,
      );
    }
    const extra = Object.keys(rest).find(
      (key) =>
        type !== 'generate_until' || own !== undefined || name !== 'exact_match' || !EXACT_MATCH_KEYS.includes(key),
    );
    if (extra !== undefined && rest[extra] !== false)
      throw taskError(config, `the metric ${name} has no argument "${extra}" here.`);
    return {
      name,
      aggregation: aggregationOf(config, fields, name, aggregation, known),
      higherIsBetter: higher ?? !/perplexity|bits_per_byte|brier|^ter$/.test(name),
      ...(type === 'generate_until' && {
        score: own
          ? (gold: string, answer: string) => own([gold, answer])
          : name === 'exact_match'
            ? exactMatcher(rest)
            : (gold: string, answer: string) => [gold, answer],
      }),
    };
  });
}

function aggregationOf(
  config: LmEvalTaskConfig,
  fields: Fields,
  metric: string,
  given: string | LmEvalFunction | undefined,
  known: LmEvalAggregationName | undefined,
): MetricSpec['aggregation'] {
  if (given instanceof LmEvalFunction) return fields.function<number>(given, 'aggregation');
  if (given === undefined && known === undefined) throw taskError(config, `the metric ${metric} needs an aggregation.`);
  return (given ?? known) as LmEvalAggregationName;
}

/** `exact_match`: patterns are dropped, then case, punctuation and digits, from both sides; then they are equal or not. */
function exactMatcher(given: Readonly<Record<string, unknown>>): (gold: string, answer: string) => number {
  const {
    regexes_to_ignore: patterns = [],
    ignore_case: anyCase,
    ignore_punctuation: bare,
    ignore_numbers: noDigits,
  } = given;
  const dropped = (patterns as readonly string[]).map(pythonPattern);
  const punctuation = new Set(PUNCTUATION);
  const normal = (text: string): string => {
    let result = dropped.reduce((rest, pattern) => rest.replace(pattern, ''), text);
    if (anyCase) result = result.toLowerCase();
    if (bare) result = [...result].filter((one) => !punctuation.has(one)).join('');
    return noDigits ? result.replace(/[0-9]/g, '') : result;
  };
  return (gold, answer) => Number(normal(gold) === normal(answer));
}

/** What was said to the requests of a problem, behind one filter. */
export type Responses =
  | { readonly type: 'generate_until'; readonly answer: Filtered }
  | {
      readonly type: 'loglikelihood' | 'multiple_choice';
      readonly scores: readonly (readonly [logProb: number, isGreedy: boolean])[];
    }
  | { readonly type: 'loglikelihood_rolling'; readonly logProb: number };

/** What is the same for all problems of a task: judged by its first one, as in lm-evaluation-harness. */
export interface TaskShape {
  readonly config: LmEvalTaskConfig;
  readonly fields: Fields;
  readonly specs: readonly MetricSpec[];
  /** doc_to_text is the index of the right one of several contexts. */
  readonly multipleInputs: boolean;
  /** doc_to_target is a list, of which any will do. */
  readonly multipleTargets: boolean;
}

/** The values of one problem by the names of metrics: `process_results` of lm-evaluation-harness 0.4.9. */
export function processResults(shape: TaskShape, doc: Doc, responses: Responses): Record<string, LmEvalValue> {
  const { config, fields, specs } = shape;
  if (config.process_results) {
    const results =
      responses.type === 'generate_until'
        ? [responses.answer]
        : responses.type === 'loglikelihood_rolling'
          ? [responses.logProb]
          : responses.scores;
    return fields.function<Record<string, LmEvalValue>>(config.process_results, 'process_results')(doc, results);
  }
  const values = valuesOf(shape, doc, responses);
  return Object.fromEntries(specs.filter(({ name }) => name in values).map(({ name }) => [name, values[name]!]));
}

function valuesOf(shape: TaskShape, doc: Doc, responses: Responses): Record<string, LmEvalValue> {
  switch (responses.type) {
    case 'generate_until':
      return ofAnswer(shape, doc, responses.answer);
    case 'loglikelihood': {
      const [logProb, isGreedy] = responses.scores[0]!;
      return { perplexity: logProb, acc: Number(isGreedy) };
    }
    case 'loglikelihood_rolling': {
      const text = rollingText(shape, doc);
      const { logProb } = responses;
      const [wordCount, bytes] = [text.split(PYTHON_RUN).length, Buffer.byteLength(text)];
      return {
        word_perplexity: [logProb, wordCount],
        byte_perplexity: [logProb, bytes],
        bits_per_byte: [logProb, bytes],
      };
    }
    case 'multiple_choice':
      return ofChoices(shape, doc, responses.scores);
  }
}

const PYTHON_RUN = pythonPattern('\\s+');

/** The text of a rolling task. @throws EvaluationError `LM_EVAL_TASK` */
export function rollingText({ config, fields }: Pick<TaskShape, 'config' | 'fields'>, doc: Doc): string {
  const text = fields.target(doc);
  if (typeof text === 'string') return text;
  throw taskError(config, `doc_to_target gives ${showValue(text)}; of loglikelihood_rolling it is the text.`);
}

const greatest = (values: readonly number[]): number =>
  values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);

function ofChoices(
  { config, fields, specs, multipleInputs, multipleTargets }: TaskShape,
  doc: Doc,
  scores: readonly (readonly [number, boolean])[],
): Record<string, LmEvalValue> {
  const choices = fields.choices(doc);
  const logProbs = scores.slice(0, choices.length).map(([logProb]) => logProb);
  const unconditional = scores.slice(choices.length).map(([logProb]) => logProb);
  const chosen = greatest(logProbs);
  const chosenByLength = greatest(logProbs.map((logProb, i) => logProb / lengthOf(choices[i]!)));
  const gold = goldsOf(config, multipleInputs ? fields.text(doc) : fields.target(doc), choices, multipleTargets);
  const isGold = (index: number) => Number(gold.includes(index));
  const highest = Math.max(...logProbs);
  const weights = logProbs.map((logProb) => Math.exp(logProb - highest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const pairs = specs.some(({ name }) => ['f1', 'mcc', 'brier_score'].includes(name));
  if (pairs && multipleTargets) throw taskError(config, 'f1, mcc and brier_score need one right choice.');
  return {
    acc: isGold(chosen),
    acc_norm: isGold(chosenByLength),
    exact_match: Number(gold.some((index) => scores[index]?.[1])),
    f1: [gold[0], chosen],
    mcc: [gold[0], chosen],
    brier_score: [gold[0], weights.map((weight) => weight / total)],
    ...(unconditional.length > 0 && {
      acc_mutual_info: isGold(greatest(logProbs.map((logProb, i) => logProb - unconditional[i]!))),
    }),
  };
}

/** Indices of right choices. One that is not there is right of nothing, as in the harness, which only warns; here it is refused. */
function goldsOf(
  config: LmEvalTaskConfig,
  gold: unknown,
  choices: readonly string[],
  several: boolean,
): readonly number[] {
  const golds = (Array.isArray(gold) && several ? gold : [gold]).map((one: unknown) =>
    typeof one === 'string' ? choices.indexOf(one) : one,
  );
  const bad = golds.find((one) => !(Number.isInteger(one) && (one as number) >= 0 && (one as number) < choices.length));
  if (bad === undefined && golds.length > 0) return golds as number[];
  throw taskError(config, `the right choice is ${showValue(gold)}, and there are ${choices.length} choices.`);
}

function ofAnswer(
  { config, fields, specs, multipleTargets }: TaskShape,
  doc: Doc,
  answer: Filtered,
): Record<string, LmEvalValue> {
  if (typeof answer !== 'string')
    throw taskError(config, `its filters end in ${showValue(answer)}; they must end in one text: add take_first.`);
  const golds = targetsOf(config, fields, doc, multipleTargets);
  return Object.fromEntries(
    specs.map(({ name, score }) => {
      if (!multipleTargets) return [name, score!(golds[0]!, answer)];
      const scores = golds.map((gold) => score!(gold, answer));
      if (scores.some((one) => typeof one !== 'number'))
        throw taskError(config, `the metric ${name} reads pairs, which several targets do not have.`);
      return [name, Number(scores.some((one) => one !== 0))];
    }),
  );
}

/** The texts of `doc_to_target`. */
export function targetsOf(config: LmEvalTaskConfig, fields: Fields, doc: Doc, several: boolean): readonly string[] {
  const target = fields.target(doc);
  if (config.doc_to_choice !== undefined) {
    const choice = typeof target === 'number' ? fields.choices(doc).at(target) : undefined;
    if (choice === undefined)
      throw taskError(config, `doc_to_target gives ${showValue(target)}; with doc_to_choice it is an index.`);
    return [choice];
  }
  // A text among lists becomes its characters, as Python's list() makes it.
  if (several)
    return (typeof target === 'string' ? [...target] : Array.isArray(target) ? target : [target]).map(pythonText);
  return [pythonText(target)];

  function pythonText(value: unknown): string {
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return String(value);
    if (typeof value === 'boolean') return value ? 'True' : 'False';
    throw taskError(config, `doc_to_target gives ${showValue(value)}; it must be a text.`);
  }
}
