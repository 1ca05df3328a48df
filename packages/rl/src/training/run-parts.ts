import { OptionError, PosttrainError } from '@posttrain/interfaces';
import { copyState, type TrainableModel, type Trainer } from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import { isLossObjective } from '../objective/policy-objective.js';
import type { FeedbackContext, RolloutSource } from '../rollout/rollout-source.js';
import type { RowSource } from '../rollout/row-source.js';
import type { Rollout } from '../rollout.js';
import type { Stateful } from '../stateful.js';
import type { PolicySettings } from './policy-options.js';

/** What has a critic as its own. */
interface Claim {
  isRunning: boolean;
}

/** Which run a critic learns in, or has learnt in. */
const owners = new WeakMap<object, Claim>();

function refuseShared(annotator: string, problem: string): OptionError {
  const remedy = 'Make one for each run; what another has learnt is copied by its parameters.';
  const message = `the annotator ${annotator} ${problem}. ${remedy}`;
  return new OptionError('INVALID_OPTION', 'trainPolicy', 'objective', message);
}

/** States of the parts of a run: JSON, typed arrays and tensors. */
export type PartStates = Readonly<Record<string, unknown>>;

const stateOf = (part: string): string => `the state of the part "${part}"`;

/** The parts of a run that carry something from step to step, by a name that its checkpoints keep. */
export class RunParts {
  /** Trainers of annotators, by the names that the run's checkpoints keep them under. */
  readonly trainers: Readonly<Record<string, Trainer<TrainableModel>>>;
  readonly #parts: ReadonlyMap<string, Stateful>;
  readonly #claim: Claim = { isRunning: true };
  /** By the names of annotators. */
  readonly #learners: readonly (readonly [string, object])[];
  readonly #before = new Map<object, Claim | undefined>();
  #hasBegun = false;
  readonly #fed: readonly Pick<RolloutSource, 'feedback'>[];

  /** @throws OptionError for a part that learns and whose state a checkpoint could not hold */
  constructor({ objective, rollouts, rows }: Pick<PolicySettings, 'objective' | 'rollouts' | 'rows'>) {
    const { annotators = [] } = objective;
    const regularisers = isLossObjective(objective) ? [] : (objective.regularisers ?? []);
    const all: readonly (readonly [string, Partial<Stateful> & Pick<Annotator, 'trainers'>])[] = [
      ['advantage', isLossObjective(objective) ? {} : objective.advantage],
      ...annotators.map((annotator, i) => [`annotator ${i} (${annotator.name})`, annotator] as const),
      ...regularisers.map((regulariser, i) => [`regulariser ${i} (${regulariser.name})`, regulariser] as const),
      ['rollouts', rollouts ?? {}],
      ['rows', rows as Partial<Stateful>],
    ];
    const parts = new Map<string, Stateful>();
    for (const [name, part] of all) {
      const [hasState, hasLoad] = [typeof part.state === 'function', typeof part.load === 'function'];
      if (hasState && hasLoad) parts.set(name, part as Stateful);
      const learns = 'learn' in part ? 'learn' : 'feedback' in part ? 'feedback' : undefined;
      const isSaved = hasState || part.trainers !== undefined;
      if (hasState === hasLoad && (isSaved || learns === undefined)) continue;
      const has = hasState ? 'state() and no load()' : hasLoad ? 'load() and no state()' : `${learns}() and no state()`;
      const option = name === 'rows' || name === 'rollouts' ? name : 'objective';
      const problem = `the part "${name}" has ${has}: a resumed run would go on from something else. Give it both.`;
      throw new OptionError('INVALID_OPTION', 'trainPolicy', option, problem);
    }
    this.#parts = parts;
    this.#fed = [...new Set([rows as Pick<RowSource, 'feedback'>, rollouts ?? {}])];
    const trainers = annotators.flatMap((annotator) => Object.entries(annotator.trainers ?? {}));
    this.trainers = Object.fromEntries(trainers);
    this.#learners = annotators.flatMap((annotator) => {
      const { name, learn, state, learner = annotator } = annotator;
      return learn || state
        ? [learner, ...Object.values(annotator.trainers ?? {})].map((one) => [name, one] as const)
        : [];
    });
    if (Object.keys(this.trainers).length === trainers.length) return;
    const problem = `two annotators have trainers of one name among ${trainers.map(([name]) => name).join(', ')}.`;
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'objective', problem);
  }

  /**
   * Takes what learns in this run for it alone, until `release`.
   *
   * @throws OptionError for a critic that another run has at this time, or another policy of this one
   */
  claim(): void {
    for (const [name, learner] of this.#learners) {
      const other = owners.get(learner);
      if (other?.isRunning) throw refuseShared(name, 'learns in another run, or for another policy of this one');
      this.#before.set(learner, other);
    }
    for (const [, learner] of this.#learners) owners.set(learner, this.#claim);
  }

  /**
   * Before the first step, which is not 0 where the run goes on from a checkpoint: critics have what that says.
   *
   * @throws OptionError for a critic that has learnt in an earlier run, which this one does not go on from
   */
  begin(firstStep: number): void {
    const used = this.#learners.find(([, learner]) => this.#before.get(learner));
    if (firstStep === 0 && used)
      throw refuseShared(used[0], 'has learnt in an earlier run, which this one does not go on from');
    this.#hasBegun = true;
  }

  /** The run is over. What it has not begun to teach is as it was. */
  release(): void {
    this.#claim.isRunning = false;
    if (this.#hasBegun) return;
    for (const [, learner] of this.#learners) {
      const before = this.#before.get(learner);
      if (owners.get(learner) !== this.#claim) continue;
      if (before) owners.set(learner, before);
      else owners.delete(learner);
    }
  }

  /** Tells the sources of rows and rollouts what has come of the last rollouts. */
  async feedback(rollouts: readonly Rollout[], context: FeedbackContext): Promise<void> {
    for (const source of this.#fed) await source.feedback?.(rollouts, context);
  }

  /** Undefined where nothing has a state. @throws PosttrainError STATE for one that a checkpoint would not give back */
  async states(): Promise<PartStates | undefined> {
    if (this.#parts.size === 0) return undefined;
    const states = [...this.#parts].map(async ([name, part]) => {
      return [name, await copyState(await part.state(), stateOf(name))] as const;
    });
    return Object.fromEntries(await Promise.all(states));
  }

  /** @throws PosttrainError STATE where a checkpoint lacks one */
  async load(states: PartStates = {}): Promise<void> {
    for (const [name, part] of this.#parts) {
      if (!(name in states)) throw new PosttrainError('STATE', `the checkpoint has no state of the part "${name}"`);
      await part.load(await copyState(states[name], stateOf(name)));
    }
  }
}
