import { custom, type Entailer, type Generator, type Given, options, type Scorer } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';

/** The models that estimators ask; every call of them is counted. */
export interface AskedModels {
  readonly generator?: Generator;
  readonly scorer?: Scorer;
  readonly entailer?: Entailer;
}

/** Says how unsure an answer to a problem is, by asking models. */
export type UncertaintyEstimator<Problem> = (problem: Problem, models: AskedModels) => Promise<number>;

const latencyOptions = options('uncertaintyLatency', {
  /** What answers without an estimate: estimators are set against it. It gets the models and may return anything. */
  answer: custom<(problem: never, models: AskedModels) => Promise<unknown>>()(
    'a function of a problem and the models',
    (value) => typeof value === 'function',
    {},
  ),
  /** Estimators by name, such as the entropy of one answer's tokens, or `semanticEntropy` of ten answers. */
  estimators: custom<Readonly<Record<string, UncertaintyEstimator<never>>>>()(
    'an object of functions by name',
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.values(value).length > 0 &&
      Object.values(value).every((one) => typeof one === 'function'),
    {},
  ),
  problems: custom<readonly never[]>()('a list', (value) => Array.isArray(value) && value.length > 0, {}),
  models: custom<AskedModels>()(
    'an object { generator, scorer, entailer }',
    (value) => typeof value === 'object' && value !== null,
    {},
  ),
  /** What time it is, in milliseconds. Default: `performance.now()`. */
  clock: custom<() => number>()('a function', (value) => typeof value === 'function', {
    default: () => performance.now(),
  }),
});
/** Options of `uncertaintyLatency`. */
export type UncertaintyLatencyOptions<Problem> = Omit<
  Given<typeof latencyOptions>,
  'answer' | 'estimators' | 'problems'
> & {
  readonly answer: (problem: Problem, models: AskedModels) => Promise<unknown>;
  readonly estimators: Readonly<Record<string, UncertaintyEstimator<Problem>>>;
  readonly problems: readonly Problem[];
};

/** What an estimate takes, a problem. */
export interface UncertaintyCost {
  /** Wall-clock seconds. */
  readonly seconds: MeanEstimate;
  /** Completions, scores and entailments that were asked for. */
  readonly completions: number;
  readonly scores: number;
  readonly entailments: number;
  /** Tokens that the generator wrote. */
  readonly completionTokens: number;
}

/** What estimates take beside an answer. */
export interface UncertaintyLatency {
  readonly answer: UncertaintyCost;
  readonly estimators: Readonly<
    Record<
      string,
      UncertaintyCost & {
        /** Mean seconds over those of an answer. */
        readonly timesAnswer: number;
        readonly values: readonly number[];
      }
    >
  >;
}

/**
 * How long estimates of uncertainty take, and what they ask of models, beside an answer without one: an estimate that takes ten answers can be had of few systems while someone waits. Problems are
 * done one after another, all estimators on each in turn, the answer first, so that a machine that slows down slows all; nothing is warmed up, so leave a first problem out where that counts.
 *
 * @throws OptionError; EvaluationError `NOT_FINITE` for an estimate that is no number; what estimators and models throw
 */
export async function uncertaintyLatency<Problem>(
  given: UncertaintyLatencyOptions<Problem>,
): Promise<UncertaintyLatency> {
  const { answer, estimators, problems, models, clock } = latencyOptions.read(given as never);
  const asked = { answer: meter(models, clock) } as Record<string, Meter>;
  const values: Record<string, number[]> = {};
  for (const name of Object.keys(estimators)) {
    if (name === 'answer')
      throw new EvaluationError('BAD_OPTION', 'uncertaintyLatency: no estimator can be called "answer".');
    asked[name] = meter(models, clock);
    values[name] = [];
  }
  for (const problem of problems) {
    await asked.answer!.time((of) => answer(problem, of));
    for (const [name, estimate] of Object.entries(estimators)) {
      const value = await asked[name]!.time((of) => estimate(problem, of));
      if (!Number.isFinite(value))
        throw new EvaluationError('NOT_FINITE', `uncertaintyLatency: the estimator "${name}" gave ${value}.`);
      values[name]!.push(value);
    }
  }
  const { answer: own, ...others } = Object.fromEntries(
    Object.entries(asked).map(([name, one]) => [name, one.cost(problems.length)]),
  ) as Record<string, UncertaintyCost>;
  const beside = ([name, cost]: [string, UncertaintyCost]) =>
    [name, { ...cost, timesAnswer: cost.seconds.value! / own!.seconds.value!, values: values[name]! }] as const;
  return { answer: own!, estimators: Object.fromEntries(Object.entries(others).map(beside)) };
}

interface Meter {
  time<T>(work: (models: AskedModels) => Promise<T>): Promise<T>;
  cost(problems: number): UncertaintyCost;
}

/** The models with a count of what is asked of them. */
function meter({ generator, scorer, entailer }: AskedModels, clock: () => number): Meter {
  const seconds: number[] = [];
  const counts = { completions: 0, scores: 0, entailments: 0, completionTokens: 0 };
  const counted: AskedModels = {
    ...(generator && {
      generator: {
        name: generator.name,
        async generate(requests) {
          const found = await generator.generate(requests);
          for (const { usage } of found.flat()) {
            counts.completions++;
            counts.completionTokens += usage.completionTokens;
          }
          return found;
        },
      },
    }),
    ...(scorer && {
      scorer: {
        name: scorer.name,
        score(requests) {
          counts.scores += requests.length;
          return scorer.score(requests);
        },
      },
    }),
    ...(entailer && {
      entailer: {
        name: entailer.name,
        entail(requests) {
          counts.entailments += requests.length;
          return entailer.entail(requests);
        },
      },
    }),
  };
  return {
    async time(work) {
      const started = clock();
      const result = await work(counted);
      seconds.push((clock() - started) / 1000);
      return result;
    },
    cost: (problems) => ({
      seconds: meanWithStandardError(seconds),
      completions: counts.completions / problems,
      scores: counts.scores / problems,
      entailments: counts.entailments / problems,
      completionTokens: counts.completionTokens / problems,
    }),
  };
}
