import { assertArgument, options as declare, type Given, integer, number, oneOf } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';
import { difficultyBin, difficultyEdges } from './difficulty.js';

/** What a strategy costs a question. */
export const COSTS = ['completionTokens', 'verifierCalls', 'flops', 'wallTimeMs', 'joules'] as const;
/** The name of a cost. */
export type CostName = (typeof COSTS)[number];
/** Costs a question, as far as they are known. */
export type Costs = Readonly<Partial<Record<CostName, number>>>;

/** One strategy, of one width, on one question. */
export interface ArmOutcome extends Costs {
  /** Whether its answer is right: 0 or 1, or the mean of several runs. */
  readonly correct: number;
}

/** A question with what each arm has made of it. */
export interface ArmedQuestion {
  readonly id: string;
  /**
   * How easy it is: pass@1 of samples (oracle), or a verifier's mean score (predicted). Of other samples than the outcomes are:
   * else the bins have seen what they are judged by.
   */
  readonly ease: number;
  /** By arm: a name for strategy and width, as `dvts n=16`. The same arms for all questions. */
  readonly outcomes: Readonly<Record<string, ArmOutcome>>;
}

const computeOptimalOptions = declare('computeOptimal', {
  /** Difficulty bins. Default 5. */
  bins: integer({ default: 5, min: 1 }),
  /** Parts of the questions; each part's choices are made on the others. Default 2. */
  folds: integer({ default: 2, min: 2 }),
  /** Which cost the budget is of. Default `completionTokens`. */
  cost: oneOf(COSTS, { default: 'completionTokens' }),
  /** The most that an arm may cost a question of a bin, in the mean. Default: any. */
  budget: number({ optional: true, min: 0 }),
  /** Of the folds. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `computeOptimal`. */
export type ComputeOptimalOptions = Given<typeof computeOptimalOptions>;

/** An arm's, or a policy's, accuracy against what it costs. */
export interface ArmAccuracy {
  readonly accuracy: MeanEstimate;
  /** Mean costs a question, of those that all its outcomes have. */
  readonly costs: Costs;
}

/** What was chosen for a question, by questions that it is not among. */
export interface HeldOutChoice {
  readonly id: string;
  readonly fold: number;
  readonly bin: number;
  readonly arm: string;
}

/** Held-out accuracy of choosing by difficulty, beside what it is to be compared with. */
export interface ComputeOptimalResult {
  /** Held out: each question by the arm that the other folds chose for its bin. */
  readonly policy: ArmAccuracy;
  /** Held out, too: one arm for all bins, chosen on the other folds. What the policy is to be compared with. */
  readonly single: ArmAccuracy;
  /** Every arm for all questions. Its best is chosen by what it is judged by, and too good. */
  readonly arms: Readonly<Record<string, ArmAccuracy>>;
  readonly choices: readonly HeldOutChoice[];
  /** By bin, from 1, easiest: questions, what each fold chose, and the accuracy of policy and single arm there. */
  readonly bins: readonly {
    readonly bin: number;
    readonly chosen: readonly string[];
    readonly policy: MeanEstimate;
    readonly single: MeanEstimate;
  }[];
}

/**
 * Compute-optimal scaling of test-time compute (arXiv 2408.03314 §3): the strategy and width that a question is given are chosen by its
 * difficulty,
 *
 *   θ*(bin, N) = argmax over arms θ with mean cost ≤ N of the accuracy of θ on questions of that bin
 *
 * by cross-validation: for the questions of a fold, edges of bins and choices come from the other folds alone, so that no question's own
 * outcome has a part in what is chosen for it, and the accuracy is that on questions not seen. Ties go to the cheaper arm, then to
 * the one named first. A bin with no question of the other folds takes their best arm over all questions. Which difficulty wants
 * which strategy is what comes out, and is assumed nowhere.
 *
 * @throws OptionError, EvaluationError `BAD_OUTCOMES` where arms are not those of all questions, `NO_ARM` where no arm is within the budget
 */
export function computeOptimal(
  questions: readonly ArmedQuestion[],
  given: ComputeOptimalOptions = {},
): ComputeOptimalResult {
  const { bins, folds, cost, budget = Number.POSITIVE_INFINITY, seed } = computeOptimalOptions.read(given);
  const where = computeOptimalOptions.where;
  const isEnough = Array.isArray(questions) && questions.length >= folds;
  assertArgument(where, 'questions', questions, isEnough, `a list of at least as many questions as folds (${folds})`);
  const arms = armsOf(where, questions, budget === Number.POSITIVE_INFINITY ? undefined : cost);
  const order = createRandom(seed, where).shuffled(questions.map((_, i) => i));
  const foldOf = new Map(order.map((question, place) => [question, place % folds]));

  const choose = (among: readonly ArmedQuestion[]): string | undefined => {
    const affordable = arms
      .map((arm) => ({ arm, accuracy: meanOf(among, arm, 'correct'), cost: meanOf(among, arm, cost) }))
      .filter((it) => budget === Number.POSITIVE_INFINITY || it.cost! <= budget);
    const best = affordable.sort((a, b) => b.accuracy! - a.accuracy! || (a.cost ?? 0) - (b.cost ?? 0))[0];
    return best?.arm;
  };
  const needed = (arm: string | undefined): string => {
    if (arm !== undefined) return arm;
    throw new EvaluationError(
      'NO_ARM',
      `${where}: no arm costs at most ${budget} ${cost} a question; raise the budget.`,
    );
  };
  const policies = Array.from({ length: folds }, (_, fold) => {
    const others = questions.filter((_, i) => foldOf.get(i) !== fold);
    const edges = difficultyEdges(
      others.map(({ ease }) => ease),
      bins,
    );
    const single = needed(choose(others));
    const chosen = Array.from({ length: bins }, (_, i) => {
      const among = others.filter(({ ease }) => difficultyBin(ease, edges) === i + 1);
      return among.length === 0 ? single : (choose(among) ?? single);
    });
    return { edges, single, chosen };
  });
  const decided = questions.map((question, i) => {
    const fold = foldOf.get(i)!;
    const { edges, single, chosen } = policies[fold]!;
    const bin = difficultyBin(question.ease, edges);
    return { question, fold, bin, arm: chosen[bin - 1]!, single };
  });
  const byPolicy = decided.map(({ question, arm }) => question.outcomes[arm]!);
  const bySingle = decided.map(({ question, single }) => question.outcomes[single]!);
  return {
    policy: accuracyOf(byPolicy),
    single: accuracyOf(bySingle),
    arms: Object.fromEntries(arms.map((arm) => [arm, accuracyOf(questions.map(({ outcomes }) => outcomes[arm]!))])),
    choices: decided.map(({ question, fold, bin, arm }) => ({ id: question.id, fold, bin, arm })),
    bins: Array.from({ length: bins }, (_, i) => {
      const inBin = decided.flatMap((it, k) => (it.bin === i + 1 ? [k] : []));
      const accuracy = (outcomes: readonly ArmOutcome[]) =>
        meanWithStandardError(inBin.map((k) => outcomes[k]!.correct));
      const chosen = policies.map((it) => it.chosen[i]!);
      return { bin: i + 1, chosen, policy: accuracy(byPolicy), single: accuracy(bySingle) };
    }),
  };
}

/** One point of accuracy against compute; both `null` where no arm costs so little. */
export type ComputeOptimalPoint =
  | { readonly budget: number; readonly policy: ArmAccuracy; readonly single: ArmAccuracy }
  | { readonly budget: number; readonly policy: null; readonly single: null };

/**
 * Held-out accuracy of the policy and of the best single arm at each budget: compute-optimal scaling against uniform. A budget
 * within which there is no arm (on the questions of some fold) has `null` for both.
 *
 * @throws what `computeOptimal` throws, but for `NO_ARM`
 */
export const computeOptimalCurve = (
  questions: readonly ArmedQuestion[],
  budgets: readonly number[],
  options: Omit<ComputeOptimalOptions, 'budget'> = {},
): ComputeOptimalPoint[] =>
  budgets.map((budget) => {
    try {
      const { policy, single } = computeOptimal(questions, { ...options, budget });
      return { budget, policy, single };
    } catch (error) {
      if (error instanceof EvaluationError && error.code === 'NO_ARM') return { budget, policy: null, single: null };
      throw error;
    }
  });

/** The arms, which are those of every question. @throws EvaluationError `BAD_OUTCOMES` */
export function armsOf(where: string, questions: readonly ArmedQuestion[], cost?: CostName): string[] {
  const arms = Object.keys(questions[0]!.outcomes);
  for (const { id, outcomes, ease } of questions) {
    const missing = arms.find((arm) => !Number.isFinite(outcomes[arm]?.correct));
    const isSame = missing === undefined && Object.keys(outcomes).length === arms.length && arms.length > 0;
    const isKnown = cost === undefined || arms.every((arm) => Number.isFinite(outcomes[arm]?.[cost]));
    if (isSame && isKnown && Number.isFinite(ease)) continue;
    const why = isSame ? `has no ${isKnown ? 'ease' : cost}` : `has not the outcomes of all arms (${arms.join(', ')})`;
    throw new EvaluationError('BAD_OUTCOMES', `${where}: question ${id} ${why}.`);
  }
  return arms;
}

function meanOf(questions: readonly ArmedQuestion[], arm: string, name: CostName | 'correct'): number | undefined {
  const values = questions.map(({ outcomes }) => outcomes[arm]![name]);
  if (!values.every((value) => value !== undefined)) return undefined;
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function accuracyOf(outcomes: readonly ArmOutcome[]): ArmAccuracy {
  const costs = COSTS.flatMap((name) => {
    const values = outcomes.map((outcome) => outcome[name]);
    if (!values.every((value) => value !== undefined)) return [];
    return [[name, values.reduce((a, b) => a + b, 0) / values.length] as const];
  });
  return { accuracy: meanWithStandardError(outcomes.map(({ correct }) => correct)), costs: Object.fromEntries(costs) };
}
