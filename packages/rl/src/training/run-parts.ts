import { OptionError, PosttrainError } from '@posttrain/interfaces';
import type { TrainableModel, Trainer } from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import type { PolicyObjectiveParts } from '../objective/policy-objective.js';
import type { Stateful } from '../stateful.js';
import type { PolicySettings } from './policy-options.js';

/** States of the parts of a run, as JSON. */
export type PartStates = Readonly<Record<string, unknown>>;

/** The parts of a run that carry something from step to step, by a name that its checkpoints keep. */
export class RunParts {
  /** Trainers of annotators, by the names that the run's checkpoints keep them under. */
  readonly trainers: Readonly<Record<string, Trainer<TrainableModel>>>;
  readonly #parts: ReadonlyMap<string, Stateful>;

  /** @throws OptionError for a part that learns and whose state a checkpoint could not hold */
  constructor({ objective, rollouts, rows }: Pick<PolicySettings, 'objective' | 'rollouts' | 'rows'>) {
    const { advantage, annotators = [] }: PolicyObjectiveParts = objective;
    const all: readonly (readonly [string, Partial<Stateful> & Pick<Annotator, 'trainers'>])[] = [
      ['advantage', advantage],
      ...annotators.map((annotator, i) => [`annotator ${i} (${annotator.name})`, annotator] as const),
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
    const trainers = annotators.flatMap((annotator) => Object.entries(annotator.trainers ?? {}));
    this.trainers = Object.fromEntries(trainers);
    if (Object.keys(this.trainers).length === trainers.length) return;
    const problem = `two annotators have trainers of one name among ${trainers.map(([name]) => name).join(', ')}.`;
    throw new OptionError('INVALID_OPTION', 'trainPolicy', 'objective', problem);
  }

  /** Undefined where nothing has a state. */
  async states(): Promise<PartStates | undefined> {
    if (this.#parts.size === 0) return undefined;
    const states = [...this.#parts].map(async ([name, part]) => [name, structuredClone(await part.state())] as const);
    return Object.fromEntries(await Promise.all(states));
  }

  /** @throws PosttrainError STATE where a checkpoint lacks one */
  async load(states: PartStates = {}): Promise<void> {
    for (const [name, part] of this.#parts) {
      if (!(name in states)) throw new PosttrainError('STATE', `the checkpoint has no state of the part "${name}"`);
      await part.load(structuredClone(states[name]));
    }
  }
}
