import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { DataStep, StepContext } from '../step.js';
import {
  eachRow,
  type ProblemRow,
  type Rollout,
  type RolloutRow,
  type RolloutSettings,
  rollOut,
  rolloutRow,
  rolloutShape,
  shareRight,
} from './rollouts.js';

const omegaPrmOptions = options('omegaPrm', {
  ...rolloutShape,
  /** Most wrong rollouts of a row that are searched for their first error. Default 100. */
  searches: integer({ default: 100, min: 1 }),
  /** α: what a rollout counts less for every part of its state's rollouts that is wrong, to the power of that part. Default 0.5. */
  alpha: number({ default: 0.5, above: 0, max: 1 }),
  /** β: the same for every L tokens of its length. Default 0.9. */
  beta: number({ default: 0.9, above: 0, max: 1 }),
  /** L, in tokens. Default 500. */
  length: number({ default: 500, above: 0 }),
  /** c_puct, how much states count that were seldom looked at. Default 0.125. */
  cPuct: number({ default: 0.125, min: 0 }),
  /** Rows at a time. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
});
/** Options of `omegaPrm`. */
export type OmegaPrmOptions = Given<typeof omegaPrmOptions>;

/**
 * The number of the first step of a wrong solution after which nothing is right any more, from 1, by binary search: ⌈log₂ n⌉ states are looked
 * at. What a linear scan finds, where states do not come alive again.
 *
 * @param isAlive whether anything is right from behind so many steps; it is from behind none, and is not from behind all
 */
export async function firstError(steps: number, isAlive: (count: number) => Promise<boolean>): Promise<number> {
  let [alive, dead] = [0, steps];
  while (dead - alive > 1) {
    const middle = (alive + dead) >> 1;
    if (await isAlive(middle)) alive = middle;
    else dead = middle;
  }
  return dead;
}

/** A state: steps so far, and what became of it. */
interface State {
  /** Each with the separator behind it. */
  readonly steps: readonly string[];
  /** MC(s). */
  readonly value: number;
  /** Wrong rollouts that are not searched yet. */
  readonly wrong: Rollout[];
  /** N(s). */
  visits: number;
}

/** A path of a row's tree. */
export interface OmegaPrmPath {
  readonly completions: readonly string[];
  /** MC of the state behind each of them. */
  readonly labels: readonly number[];
}

/**
 * Labels of steps by a tree search (OmegaPRM, arXiv 2406.06592, algorithm 1): of rows `{ prompt }`, solutions `{ completions, labels }` for `processReward({
 * softLabels: true })`, whose labels are MC(s), the share of `rollouts` completions from a state that are right. A wrong rollout r of
 * a state s with 0 < MC(s) < 1 is chosen by the largest Q(s, r) + U(s), Q = α^(1 - MC(s)) β^(tokens(r) / L) and U = c_puct √Σ N / (1 + N(s)), and a
 * binary search finds its first error; every state on its way joins the tree. One row for each path from the root to a leaf, whose
 * `completions` are the texts between states.
 *
 * openr's implementation counts a state's visits by its rollouts, and a rollout's length in words; what it finds of a rollout is the same.
 *
 * @throws RowError for a row without a prompt
 */
export function omegaPrm(given: OmegaPrmOptions): DataStep<ProblemRow, ProblemRow & OmegaPrmPath> {
  const { concurrency, ...settings } = omegaPrmOptions.read(given);
  return {
    name: 'omega prm',
    version: JSON.stringify(omegaPrmOptions.settings(given)),
    apply: (rows, context) =>
      eachRow(rows, context, concurrency, async (row, rowNumber) => {
        const states = await grow(rolloutRow(row, rowNumber, context), settings, context);
        if (states.length === 1) {
          const { value } = states[0]!;
          context.drop(row, value === 1 ? 'every rollout is right' : 'no rollout is right');
          return [];
        }
        return pathsOf(states, settings.stepSeparator).map((path, i) => context.derive({ ...row, ...path }, row, i));
      }),
  };
}

type Settings = RolloutSettings & ReturnType<typeof omegaPrmOptions.read>;

/** The states that a search of a row looks at, the root first. */
async function grow(
  of: RolloutRow,
  settings: Omit<Settings, 'concurrency'>,
  context: StepContext<ProblemRow>,
): Promise<State[]> {
  const { stepSeparator, searches, alpha, beta, length, cPuct } = settings;
  const states = new Map<string, State>();
  const visit = async (steps: readonly string[]): Promise<State> => {
    const prefix = steps.join('');
    const known = states.get(prefix);
    if (known) return known;
    const [rollouts] = await rollOut(of, [prefix], settings, context);
    const value = shareRight(rollouts!);
    const wrong = value > 0 ? rollouts!.filter(({ isRight }) => !isRight) : [];
    const state: State = { steps, value, wrong, visits: 0 };
    states.set(prefix, state);
    return state;
  };
  await visit([]);
  for (let search = 0; search < searches; search++) {
    const total = [...states.values()].reduce((sum, { visits }) => sum + visits, 0);
    let best: { readonly state: State; readonly at: number; readonly worth: number } | undefined;
    for (const state of states.values()) {
      const explored = (cPuct * Math.sqrt(total)) / (1 + state.visits);
      state.wrong.forEach(({ tokens }, at) => {
        const worth = alpha ** (1 - state.value) * beta ** (tokens / length) + explored;
        if (best === undefined || worth > best.worth) best = { state, at, worth };
      });
    }
    if (best === undefined) break;
    const { state, at } = best;
    const [rollout] = state.wrong.splice(at, 1);
    state.visits++;
    const steps = rollout!.text
      .split(stepSeparator)
      .filter((step) => step.trim() !== '')
      .map((step) => step + stepSeparator);
    await firstError(
      steps.length,
      async (count) => (await visit([...state.steps, ...steps.slice(0, count)])).value > 0,
    );
  }
  return [...states.values()];
}

/** The paths of a tree of states to its leaves: texts between them, and what they are worth. */
function pathsOf(states: readonly State[], separator: string): OmegaPrmPath[] {
  const isWithin = (of: State, other: State) =>
    of.steps.length < other.steps.length && of.steps.every((step, i) => step === other.steps[i]);
  const leaves = states.filter((state) => !states.some((other) => isWithin(state, other)));
  return leaves.map((leaf) => {
    const path = [...states.filter((state) => isWithin(state, leaf)), leaf].sort(
      (a, b) => a.steps.length - b.steps.length,
    );
    const [, ...further] = path;
    return {
      completions: further.map((state, i) => {
        const own = state.steps.slice(path[i]!.steps.length).join('');
        return own.slice(0, own.length - separator.length);
      }),
      labels: further.map(({ value }) => value),
    };
  });
}
