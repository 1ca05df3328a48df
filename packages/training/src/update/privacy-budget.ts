import { type Given, number, options, PosttrainError } from '@posttrain/interfaces';
import { type PrivacyOptions, type PrivacySpent, privacySpent, renyiCosts, spentOf } from './privacy-accountant.js';

const budgetOptions = options('privacyBudget', {
  /** ε that may be spent in all. */
  epsilon: number({ above: 0 }),
  /** δ of the guarantee, well below 1 / number of rows. */
  delta: number({ above: 0, below: 1 }),
});
/** Options of `privacyBudget`. */
export type PrivacyBudgetOptions = Given<typeof budgetOptions>;

/** A run over somebody's rows, as it is accounted for: `dpSgd` with Poisson sampling. */
export type PrivateRun = Omit<PrivacyOptions, 'delta'>;

/** What is left of somebody's privacy. */
export interface PrivacyBudget {
  /** What all runs so far have cost together; ε is 0 before the first. */
  readonly spent: PrivacySpent;
  /** How many updates of a run like this the rest allows, 0 where it allows none. */
  stepsLeft(run: Omit<PrivateRun, 'steps'>): number;
  /**
   * Takes a run from the budget, before it begins: what it has seen cannot be given back.
   *
   * @throws PosttrainError PRIVACY_BUDGET where it would cost more than is left, with nothing taken; OptionError
   */
  spend(run: PrivateRun): PrivacySpent;
  /** All that it remembers, as JSON: to be kept beside what the rows have trained. */
  state(): readonly number[];
  /** @throws PosttrainError PRIVACY_BUDGET for what is no such state, or has spent more than there is */
  load(state: readonly number[]): void;
}

/** Most updates that `stepsLeft` says. */
const MOST_STEPS = 2 ** 31;

/**
 * The (ε, δ) that the rows of one user may cost over all runs that see them, each with its own noise and sampling: costs of runs are added up as Rényi
 * divergences, order by order (arXiv 1702.07476, proposition 1), as `privacySpent` adds those of steps. One for each user, whose
 * adapter is trained on nobody else's rows: what another's runs spend is not taken from it.
 *
 * @throws OptionError
 */
export function privacyBudget(given: PrivacyBudgetOptions): PrivacyBudget {
  const { epsilon, delta } = budgetOptions.read(given);
  const fail = (problem: string): never => {
    throw new PosttrainError('PRIVACY_BUDGET', `privacyBudget: ${problem}`);
  };
  let costs: readonly number[] | undefined;
  const after = (run: PrivateRun): number[] => renyiCosts(run).map((cost, i) => cost + (costs?.[i] ?? 0));
  const spent = (): PrivacySpent => (costs ? spentOf(costs, delta) : { epsilon: 0, order: Number.NaN });
  const stepsLeft = (run: Omit<PrivateRun, 'steps'>): number => {
    const fits = (steps: number) => spentOf(after({ ...run, steps }), delta).epsilon <= epsilon;
    let [least, most] = [0, 1];
    while (fits(most) && most < MOST_STEPS) [least, most] = [most, 2 * most];
    while (most - least > 1) {
      const middle = Math.floor((least + most) / 2);
      if (fits(middle)) least = middle;
      else most = middle;
    }
    return least;
  };
  return {
    stepsLeft,
    get spent() {
      return spent();
    },
    spend(run) {
      privacySpent({ ...run, delta });
      const next = after(run);
      const cost = spentOf(next, delta).epsilon;
      if (!(cost <= epsilon)) {
        const rest = stepsLeft(run);
        fail(
          `${run.steps} updates would make it ε ${cost.toFixed(3)} of ${epsilon}, and ${spent().epsilon.toFixed(3)} is spent; ${rest} are left with this noise`,
        );
      }
      costs = next;
      return spent();
    },
    state: () => costs ?? [],
    load(state) {
      const length = renyiCosts({ sampleRate: 1, noiseMultiplier: 1, steps: 1 }).length;
      const isState = Array.isArray(state) && state.every((cost) => Number.isFinite(cost) && cost >= 0);
      if (!isState || (state.length > 0 && state.length !== length)) fail('the state is none that state() has given');
      if (state.length > 0 && spentOf(state, delta).epsilon > epsilon)
        fail(`the state has spent more than ε ${epsilon}`);
      costs = state.length > 0 ? [...state] : undefined;
    },
  };
}
