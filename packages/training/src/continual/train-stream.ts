import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, custom, type Given, OptionError, options, PosttrainError, type Read } from '@posttrain/interfaces';
import { type CausalLM, withParameters } from '@posttrain/lm';
import { lockFolder } from '../run/run-lock.js';
import { warn } from '../run/run-options.js';
import type { Metrics } from '../tracking/metrics.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import { Trainer } from '../trainer/trainer.js';
import type { ContinualMethod, ContinualStage, ContinualState, ContinualTask, StagePlan } from './continual-method.js';
import { sftStage } from './sft-stage.js';
import { folderOfTask, loadStream, refuseForgetful, refuseUsed, saveStream, streamIdentity } from './stream-folder.js';

const WHERE = 'trainStream';
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

const isTask = (task: unknown): boolean =>
  isObject(task) && typeof task.name === 'string' && Array.isArray(task.rows) && task.rows.length > 0;

const streamOptions = options(WHERE, {
  /** What learns: all of its weights, or an adapter beside it. It stays as it is. */
  model: custom<CausalLM>()('a CausalLM', (value) => isObject(value) && 'network' in value, { decisive: false }),
  /** What is trained beside the model, as it is before the first task. Default: none, the model itself is trained. */
  adapter: custom<TrainableAdapter>()('an adapter', isObject, { optional: true, decisive: false }),
  /** In the order in which they are learnt. */
  tasks: custom<readonly ContinualTask<never>[]>()(
    'a list of tasks { name, rows }, of at least one row each',
    (value) => Array.isArray(value) && value.length > 0 && value.every(isTask),
    { decisive: false },
  ),
  /** How not to forget: one of `continualMethods`, made for this stream. Default: the control, which does nothing. */
  method: custom<ContinualMethod>()(
    'a method, such as continualMethods.ewc({ lambda: 100 })',
    (value) => isObject(value) && typeof value.name === 'string' && 'family' in value,
    { default: { name: 'naive', family: 'none' } as ContinualMethod, decisive: false },
  ),
  /** How tasks are trained that do not say it. Default `sftStage()`. */
  stage: custom<ContinualStage<never>>()(
    'a stage, such as sftStage({ learningRate: 1e-3 })',
    (value) => isObject(value) && typeof value.train === 'function',
    { optional: true, decisive: false },
  ),
  /**
   * Where the stream is written to: the run of task N in `task-N/`, and `checkpoint-N/` with what N tasks have left of parameters, scores and
   * the method. Default: nothing is written.
   */
  outputFolder: custom<string>()('the path of a folder', (value) => typeof value === 'string' && value !== '', {
    optional: true,
    decisive: false,
  }),
  /**
   * Go on from what is in `outputFolder`, within a task too: the stream ends with the very weights and scores that it would have had
   * without the interruption. Default false.
   */
  resume: boolean({ default: false, decisive: false }),
  /** Something is odd but not wrong. Default: a Node process warning. */
  onWarning: custom<(message: string) => void>()('a function', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
  /** Told of the scores of all tasks after each of them. */
  onTask: custom<
    (learnt: { readonly task: string; readonly index: number; readonly scores: readonly Metrics[] }) => void
  >()('a function', (value) => typeof value === 'function', { optional: true, decisive: false }),
});

/** Options of `trainStream`. Tasks have the rows that their stages read. */
export type TrainStreamOptions = Omit<Given<typeof streamOptions>, 'tasks' | 'stage'> & {
  readonly tasks: readonly ContinualTask<object>[];
  readonly stage?: ContinualStage<object>;
};

/** What `trainStream` gives. */
export interface TrainStreamResult extends ContinualState {
  /** b: by score, that of every task before any training. */
  readonly baseline: Readonly<Record<string, readonly number[]>>;
  /** R: by score, R[i][j] of task j after training on task i. `continualMetrics` of `@posttrain/eval` takes it. */
  readonly matrix: Readonly<Record<string, readonly (readonly number[])[]>>;
}

/**
 * Continual learning of one task after the other, with all tasks measured before the first and after each: the matrix R[i, j] of GEM
 * (arXiv 1706.08840) and, where tasks are domains of texts, of continual pretraining (arXiv 2402.17400). Scores that not every task has
 * are left out. With an `outputFolder` a stream that was killed goes on where it was, across tasks and within one.
 *
 * @throws OptionError where the tasks, or a method and the stages, do not fit; CheckpointError, RunLockedError; what the stages throw
 */
export async function trainStream(given: TrainStreamOptions): Promise<TrainStreamResult> {
  const settings = streamOptions.read(given as Given<typeof streamOptions>);
  const { outputFolder } = settings;
  if (outputFolder === undefined) {
    if (settings.resume) throw wrong('resume', 'resume needs an outputFolder; say which stream goes on.');
    return runStream(settings);
  }
  refuseForgetful(WHERE, settings.method);
  const lock = await lockFolder(outputFolder, (message) => warn(settings, message));
  try {
    if (!settings.resume) await refuseUsed(outputFolder);
    return await runStream(settings);
  } finally {
    lock.release();
  }
}

async function runStream(settings: Read<typeof streamOptions>): Promise<TrainStreamResult> {
  const { tasks: all, method, stage, onTask, outputFolder, ...start } = settings;
  const tasks = all as readonly ContinualTask[];
  const names = tasks.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw wrong('tasks', `two tasks are called ${twice}; give each a name of its own.`);
  const byDefault = (stage as ContinualStage | undefined) ?? sftStage();
  const stageOf = (task: ContinualTask): ContinualStage => task.stage ?? byDefault;
  const unmeasured = tasks.find((task) => !task.evaluate && !stageOf(task).evaluate);
  if (unmeasured) {
    throw wrong('tasks', `nothing measures ${unmeasured.name}: its stage has no evaluate; give the task one.`);
  }

  const scoresOf = async (trainer: Trainer, state: ContinualState): Promise<Metrics[]> => {
    const scores: Metrics[] = [];
    for (const [i, task] of tasks.entries()) {
      const own = method.measuredWith?.(i);
      const [asked, by] = [own ?? state, own ? await measuring(own) : trainer];
      const rows = task.evaluationRows ?? task.rows;
      scores.push(await (task.evaluate?.(asked) ?? stageOf(task).evaluate!(by, asked, rows)));
    }
    return scores;
  };

  let state: ContinualState = { model: start.model, adapter: start.adapter };
  const identity = outputFolder === undefined ? {} : await streamIdentity(state, tasks, method, stageOf);
  const saved = outputFolder === undefined ? undefined : await loadStream(outputFolder, method, identity);
  const before = saved?.baseline ?? (await scoresOf(await measuring(state), state));
  const rows: (readonly Metrics[])[] = [...(saved?.scores ?? [])];
  if (saved) state = withTrained(state, saved.parameters);
  for (const [index, task] of tasks.entries()) {
    if (index < rows.length) continue;
    const own = stageOf(task);
    state = (await method.start?.({ ...state, task, index })) ?? state;
    const plan = (await method.begin?.({ ...state, task, index })) ?? {};
    refuseUnheeded(plan, own, method, task);
    const folder = outputFolder === undefined ? undefined : folderOfTask(outputFolder, index);
    const { trainer, adapter } = await own.train({ ...state, task, index, plan, folder });
    state = adapter
      ? { model: state.model, adapter: withParameters(adapter, await trainer.copyParameters()) }
      : { model: trainer.model, adapter: undefined };
    const changed = await method.end?.({
      ...{ ...state, trainer, task, index },
      trainingRows() {
        if (own.trainingRows) return own.trainingRows(state, task.rows);
        const problem = `${method.name} learns from rows as they are trained, and the stage ${own.name} of ${task.name} gives none`;
        throw wrong('method', `${problem}; give it trainingRows, or take another method.`);
      },
    });
    if (changed) state = changed;
    const scores = await scoresOf(changed ? await measuring(state) : trainer, state);
    rows.push(scores);
    if (outputFolder !== undefined) {
      const progress = {
        baseline: before,
        scores: rows,
        parameters: changed ? changedBy(changed) : await trainer.copyParameters(),
      };
      await saveStream(outputFolder, progress, method, identity);
    }
    onTask?.({ task: task.name, index, scores });
  }
  const shared = Object.keys(before[0]!).filter((name) =>
    [before, ...rows].every((row) => row.every((scores) => Number.isFinite(scores[name]))),
  );
  if (shared.length === 0) {
    const problem = 'no score is there for every task, so that there is no matrix; have all give one of the same name';
    throw new PosttrainError('CONTINUAL_SCORES', `${WHERE}: ${problem}`);
  }
  const each = <T>(of: (name: string) => T) => Object.fromEntries(shared.map((name) => [name, of(name)]));
  const line = (scores: readonly Metrics[], name: string) => scores.map((one) => one[name]!);
  return {
    ...state,
    baseline: each((name) => line(before, name)),
    matrix: each((name) => rows.map((scores) => line(scores, name))),
  };
}

/** A trainer that trains nothing. */
const measuring = ({ model, adapter }: ContinualState): Promise<Trainer> =>
  Trainer.create(model, { optimizer: 'sgd', ...(adapter && { adapter }) });

const changedBy = ({ model, adapter }: ContinualState): Named => adapter?.parameters ?? model.weights;

const withTrained = ({ model, adapter }: ContinualState, parameters: Named): ContinualState =>
  adapter
    ? { model, adapter: withParameters(adapter, parameters) }
    : { model: model.withWeights({ ...model.weights, ...parameters }), adapter: undefined };

const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', WHERE, option, problem);

function refuseUnheeded(plan: StagePlan, stage: ContinualStage, method: ContinualMethod, task: ContinualTask): void {
  const unheeded = (Object.keys(plan) as (keyof StagePlan)[]).find(
    (part) => plan[part] !== undefined && !stage.takes.includes(part),
  );
  if (unheeded === undefined) return;
  const problem = `${method.name} needs a stage that takes ${unheeded}, and ${stage.name} of ${task.name} does not`;
  throw wrong('method', `${problem}; take another method, or a stage that does.`);
}
