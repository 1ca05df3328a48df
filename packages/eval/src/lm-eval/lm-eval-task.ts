import {
  custom,
  type GenerateRequest,
  type Generator,
  type Given,
  integer,
  isPlainObject,
  oneOf,
  options,
  type Prompt,
  type RollingScorer,
  type SamplingParams,
  type ScoreRequest,
  type Scorer,
  showValue,
  text,
  type Usage,
} from '@posttrain/interfaces';
import { PythonRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import type { ProblemBase } from '../log/format.js';
import type { Metric } from '../task.js';
import {
  type AskContext,
  assertLength,
  hashRequest,
  type KindTask,
  type Problem,
  problemSeed,
  recordOf,
  requireMethod,
  SCORED_AT_ONCE,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';
import {
  aggregateValues,
  type LmEvalAggregation,
  type LmEvalValue,
  lmEvalAggregations,
  ownAggregation,
  shareOf,
} from './aggregations.js';
import { assertTaskConfig, type Doc, LmEvalFunction, type LmEvalTaskConfig, taskError } from './config.js';
import { type Context, contextsOf } from './few-shot.js';
import { Fields, type LmEvalFunctions } from './fields.js';
import { type FilterChain, filterChains } from './filters.js';
import { metricSpecs, processResults, type Responses, rollingText, type TaskShape } from './metrics.js';
import { samplingOf } from './sampling.js';

const taskOptions = options('lmEvalTask', {
  /** Rows of each split that the task names, by its name. */
  splits: custom<Readonly<Record<string, readonly object[]>>>()(
    'an object of lists of rows, by split',
    isPlainObject,
    {},
  ),
  /** What stands for each `!function file.name` of the task, by that name: Python is not run. */
  functions: custom<LmEvalFunctions>()('an object of functions, by name', isPlainObject, { optional: true }),
  /** Examples before each question, in the place of the task's own `num_fewshot` (unless that is 0, which stays). */
  numFewshot: integer({ optional: true, min: 0 }),
  /** Seed of Python's numbers that examples are drawn by. Default 1234, as in the harness. */
  fewshotSeed: integer({ default: 1234 }),
  /**
   * Asks in messages (`--apply_chat_template`): the examples in one turn with the question, or each in turns of its own
   * (`--fewshot_as_multiturn`). Default: plain text.
   */
  chat: oneOf(['turn', 'multiturn'], { optional: true }),
  /** Before the description of the task. */
  systemInstruction: text({ optional: true }),
  /** Resamples of metrics whose standard error the harness has by bootstrap. Default 1000; the harness takes 100000. */
  bootstrapIterations: integer({ default: 1000, min: 0 }),
});
/** Options of `lmEvalTask`. */
export type LmEvalTaskOptions = Given<typeof taskOptions>;

/** What the model is: a `Generator` (generate_until), a `Scorer` (loglikelihood, multiple_choice) or a `RollingScorer`. */
export type LmEvalModel = Generator | Scorer | RollingScorer;

/** A problem of a task of lm-evaluation-harness as it is logged. */
export interface LmEvalProblem extends ProblemBase {
  /** What was generated. */
  readonly completions?: readonly { readonly text: string; readonly finishReason: string; readonly usage: Usage }[];
  /** What was scored: log-likelihoods of the continuations, those without a context last. */
  readonly scores?: readonly (readonly [logProb: number, isGreedy: boolean])[];
  /** Behind each filter, the values of the metrics. */
  readonly values: Readonly<Record<string, Readonly<Record<string, LmEvalValue>>>>;
}

/** What metrics see: their values of one problem behind one filter. */
export type LmEvalSeen = Readonly<Record<string, LmEvalValue>>;

/** A task of lm-evaluation-harness. Made by `lmEvalTask`. */
export interface LmEvalTask extends KindTask<Doc, LmEvalModel, LmEvalProblem, LmEvalSeen> {
  readonly type: 'lm_eval';
  readonly lmEval: Prepared;
}

/** A task, read and ready. */
interface Prepared {
  readonly shape: TaskShape;
  readonly chains: readonly FilterChain[];
  readonly contexts: ReadonlyMap<Doc, Context>;
  readonly sampling: SamplingParams;
  readonly delimiter: string;
}

/**
 * A task of lm-evaluation-harness (0.4.9) for `evaluate`: the same prompts, requests and scores. Metrics are named as there, the filter is
 * the grader: `metricOf(result, 'exact_match', 'strict-match')`.
 *
 * @param config what `readLmEvalConfig` reads, or an object of the same keys
 * @throws OptionError; EvaluationError `LM_EVAL_TASK` for what is not carried over, and for rows that do not fit the task; JinjaError;
 *   EvaluationError `PYTHON_PATTERN`
 */
export function lmEvalTask(config: LmEvalTaskConfig, given: LmEvalTaskOptions): LmEvalTask {
  const settings = taskOptions.read(given);
  assertTaskConfig(config);
  const functions = settings.functions ?? {};
  const rows = (split: string | undefined, key: string): readonly Doc[] | undefined => {
    if (split === undefined) return undefined;
    const found = Object.hasOwn(settings.splits, split) ? settings.splits[split] : undefined;
    if (!Array.isArray(found))
      throw taskError(
        config,
        `${key} is "${split}", and splits has no such list; it has ${Object.keys(settings.splits).join(', ') || 'none'}.`,
      );
    const process = config.process_docs;
    if (process === undefined) return found as Doc[];
    return new Fields(config, new Set(), functions).function<readonly Doc[]>(process, 'process_docs')(found);
  };
  const test = rows(config.test_split, 'test_split') ?? rows(config.validation_split, 'validation_split');
  if (test === undefined) throw taskError(config, 'it has neither a test_split nor a validation_split.');
  if (test.length === 0) throw taskError(config, 'there are no rows to evaluate.');
  // Rows are told apart by identity, and one may be in a list twice.
  const docs = test.map((doc) => ({ ...doc }));
  const fields = new Fields(config, new Set(docs.flatMap(Object.keys)), functions);
  const specs = metricSpecs(config, fields);
  const firstText = config.output_type === 'loglikelihood_rolling' ? '' : fields.text(docs[0]!);
  const shape: TaskShape = {
    ...{ config, fields, specs },
    multipleInputs:
      typeof firstText === 'number' && config.doc_to_choice !== undefined && config.output_type === 'multiple_choice',
    multipleTargets: Array.isArray(fields.target(docs[0]!)) && (fields.target(docs[0]!) as unknown[]).length > 0,
  };
  if (settings.chat !== undefined && shape.multipleInputs)
    throw taskError(config, 'its choices are contexts, which messages cannot begin with; ask in plain text.');
  const count = config.num_fewshot === 0 ? 0 : (settings.numFewshot ?? config.num_fewshot ?? 0);
  const made = contextsOf(
    {
      ...{ config, fields, count },
      shots: count === 0 ? [] : (shotsOf(config, fields, rows) ?? test),
      random: new PythonRandom(settings.fewshotSeed),
      chat: settings.chat,
      systemInstruction: settings.systemInstruction,
    },
    docs,
    shape.multipleInputs,
  );
  const contexts = new Map<Doc, Context>(docs.map((doc, i) => [doc, made[i]!]));
  const chains = filterChains(config, fields);
  const isGenerated = (config.output_type ?? 'generate_until') === 'generate_until';
  if (
    !isGenerated &&
    ((config.repeats ?? 1) > 1 || chains.some(({ name }) => name !== 'none' && config.filter_list !== undefined))
  )
    throw taskError(config, 'repeats and filters are for what is generated.');
  return {
    type: 'lm_eval',
    kind: lmEvalKind,
    name: config.task,
    dataset: docs,
    prompt: (doc: Doc) => promptOf(shape, contexts.get(doc)!, doc),
    metrics: specs.map((spec) => metricOf(spec, settings.bootstrapIterations)),
    lmEval: {
      ...{ shape, chains },
      contexts,
      sampling: isGenerated ? samplingOf(config) : {},
      delimiter: settings.chat === undefined ? (config.target_delimiter ?? ' ') : '',
    },
  };
}

/** Where examples are drawn from. */
function shotsOf(
  config: LmEvalTaskConfig,
  fields: Fields,
  rows: (split: string | undefined, key: string) => readonly Doc[] | undefined,
): readonly Doc[] | undefined {
  const { samples } = config.fewshot_config ?? {};
  if (config.fewshot_split !== undefined) return rows(config.fewshot_split, 'fewshot_split');
  if (samples instanceof LmEvalFunction) return fields.function<readonly Doc[]>(samples, 'fewshot_config.samples')();
  return samples ?? rows(config.training_split, 'training_split') ?? rows(config.validation_split, 'validation_split');
}

const promptOf = (shape: TaskShape, context: Context, doc: Doc): Prompt =>
  shape.config.output_type === 'loglikelihood_rolling' ? rollingText(shape, doc) : context.prompt;

function metricOf(spec: TaskShape['specs'][number], iterations: number): Metric<LmEvalSeen> {
  const { name, aggregation: of } = spec;
  if (typeof of === 'string' && !Object.hasOwn(lmEvalAggregations, of)) {
    const known = Object.keys(lmEvalAggregations).join(', ');
    throw new EvaluationError(
      'LM_EVAL_TASK',
      `${name}: the aggregation "${of}" is not carried over; there are ${known}, and !function.`,
    );
  }
  const aggregation: LmEvalAggregation = typeof of === 'string' ? lmEvalAggregations[of] : ownAggregation(of);
  return {
    name,
    value: (seen) => (name in seen ? shareOf(aggregation, name, seen[name]!) : null),
    estimate: (seen) =>
      aggregateValues(
        aggregation,
        seen.map((values) => values[name]!),
        iterations,
      ),
  };
}

/** Tasks of lm-evaluation-harness. */
export const lmEvalKind: TaskKind<LmEvalTask, LmEvalModel, LmEvalProblem, LmEvalSeen> = {
  type: 'lm_eval',
  keys: ['lmEval'],
  // The task is not known here; `ask` looks again.
  checkModel: () => {},
  check({ lmEval }, where) {
    if (lmEval?.shape) return;
    throw new EvaluationError('BAD_TASK', `${where}: lmEval is ${showValue(lmEval)}; lmEvalTask makes such tasks.`);
  },
  settings: ({ lmEval: { shape, chains, sampling, delimiter } }) => ({
    ...{ sampling, delimiter, filters: chains.map(({ name }) => name) },
    samples: shape.config.repeats ?? 1,
    outputType: outputTypeOf(shape),
  }),
  hash: (task, problem, context) => hashRequest(requestOf(task, problem, context)),
  batchSize: ({ lmEval }) => (outputTypeOf(lmEval.shape) === 'generate_until' ? undefined : SCORED_AT_ONCE),
  async ask(task, problems, model, context) {
    const begun = performance.now();
    const answered = await answer(task, problems, model, context);
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    return problems.map((problem, i) => {
      const { responses, ...logged } = answered[i]!;
      return {
        ...recordOf(problem, hashRequest(requestOf(task, problem, context)), seconds),
        ...logged,
        values: Object.fromEntries(
          Object.entries(responses).map(([filter, of]) => [
            filter,
            processResults(task.lmEval.shape, problem.row as Doc, of),
          ]),
        ),
      };
    });
  },
  graders: ({ lmEval }) => lmEval.chains.map(({ name }) => name),
  seen: ({ values }, filter) => values[filter ?? 'none'] ?? {},
  usage: ({ completions = [] }) => completions.map(({ usage }) => usage),
};

const outputTypeOf = ({ config }: TaskShape) => config.output_type ?? 'generate_until';

/** What is asked about a problem: one request to a generator, some to a scorer, or a text. */
function requestOf(
  task: LmEvalTask,
  { row, id }: Problem,
  { seed }: AskContext,
): GenerateRequest | readonly ScoreRequest[] | string {
  const { shape, contexts, sampling, delimiter } = task.lmEval;
  const doc = row as Doc;
  const { prompt, prefix } = contexts.get(doc)!;
  const type = outputTypeOf(shape);
  if (type === 'generate_until') {
    const n = shape.config.repeats ?? 1;
    return { prompt, n, ...sampling, ...(prefix !== undefined && { prefix }), seed: problemSeed(seed, id) };
  }
  if (type === 'loglikelihood_rolling') return rollingText(shape, doc);
  if (prefix !== undefined) throw taskError(shape.config, 'gen_prefix in messages is for what is generated.');
  if (type === 'loglikelihood') {
    const target = shape.fields.target(doc);
    if (typeof target !== 'string')
      throw taskError(shape.config, `doc_to_target gives ${showValue(target)}; it must be a text.`);
    return [{ prompt, continuation: target }];
  }
  return choiceRequests(shape, doc, prompt, delimiter);
}

function choiceRequests(shape: TaskShape, doc: Doc, prompt: Prompt, delimiter: string): ScoreRequest[] {
  const { fields, specs, multipleInputs } = shape;
  const choices = fields.choices(doc);
  const requests = multipleInputs
    ? choices.map((choice) => ({
        prompt: `${String(prompt)}${choice}`,
        continuation: `${delimiter}${fields.target(doc)}`,
      }))
    : choices.map((choice) => ({ prompt, continuation: delimiter + choice }));
  if (!specs.some(({ name }) => name === 'acc_mutual_info')) return requests;
  return [...requests, ...choices.map((choice) => ({ prompt: '', continuation: delimiter + choice }))];
}

interface Answered {
  readonly responses: Readonly<Record<string, Responses>>;
  readonly completions?: NonNullable<LmEvalProblem['completions']>;
  readonly scores?: NonNullable<LmEvalProblem['scores']>;
}

async function answer(
  task: LmEvalTask,
  problems: readonly Problem[],
  model: LmEvalModel,
  context: AskContext,
): Promise<Answered[]> {
  const { shape, chains } = task.lmEval;
  const where = `task "${task.name}"`;
  const { signal } = context;
  const type = outputTypeOf(shape);
  const behindAll = (responses: Responses) => Object.fromEntries(chains.map(({ name }) => [name, responses]));
  const requests = problems.map((problem) => requestOf(task, problem, context));
  if (type === 'generate_until') {
    requireMethod(model, 'generate', 'generator', 'LocalGenerator', where);
    const asked = (requests as GenerateRequest[]).map((request) => ({ ...request, ...(signal && { signal }) }));
    const drawn = await untilAborted(() => (model as Generator).generate(asked), signal, task.name);
    assertLength(model.name, 'arrays of completions', drawn.length, asked.length, 'requests');
    return drawn.map((completions, i) => {
      assertLength(model.name, 'completions', completions.length, asked[i]!.n ?? 1, `samples of "${problems[i]!.id}"`);
      const texts = completions.map((completion) => completion.text);
      return {
        completions: completions.map(({ text: said, finishReason, usage }) => ({ text: said, finishReason, usage })),
        responses: Object.fromEntries(
          chains.map((chain) => [chain.name, { type, answer: chain.apply(texts, problems[i]!.row as Doc) }]),
        ),
      };
    });
  }
  if (type === 'loglikelihood_rolling') {
    requireMethod(model, 'scoreRolling', 'rolling scorer', 'LocalScorer', where);
    const scores = await untilAborted(
      () => (model as RollingScorer).scoreRolling(requests as string[]),
      signal,
      task.name,
    );
    assertLength(model.name, 'scores', scores.length, requests.length, 'texts');
    return scores.map(({ logProb, isGreedy }) => ({
      scores: [[logProb, isGreedy]],
      responses: behindAll({ type, logProb }),
    }));
  }
  requireMethod(model, 'score', 'scorer', 'LocalScorer', where);
  const flat = (requests as ScoreRequest[][]).flat();
  const scores = await untilAborted(() => (model as Scorer).score(flat), signal, task.name);
  assertLength(model.name, 'scores', scores.length, flat.length, 'requests');
  let next = 0;
  return (requests as ScoreRequest[][]).map((own) => {
    const said = own.map(() => scores[next++]!).map(({ logProb, isGreedy }) => [logProb, isGreedy] as const);
    return { scores: said, responses: behindAll({ type, scores: said }) };
  });
}
