import { Key, realize } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import {
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  number,
  OptionError,
  options,
  settingsOf,
} from '@posttrain/interfaces';
import { LocalGenerator, withParameters } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import type { SftRow } from '../sft/tokenize-rows.js';
import { gem } from '../update/gem.js';
import { aGemRule } from './a-gem.js';
import { adapterMethods } from './adapter-methods.js';
import type { ContinualMethod, LearntTask, StagePlan } from './continual-method.js';
import { ewc } from './ewc.js';
import { experienceReplay } from './experience-replay.js';
import { fisherDiagonal } from './fisher-diagonal.js';
import { type GenerativeReplaySettings, generativeReplay, generativeReplayShape } from './generative-replay.js';
import { l2Sp } from './l2-sp.js';
import { learningWithoutForgetting } from './lwf.js';
import { masImportance } from './mas.js';
import { addImportance } from './online-ewc.js';
import { drawWithout, type ReplayBuffer, reservoirBuffer, ringBuffer } from './replay-buffer.js';
import { normalised } from './row-means.js';
import {
  type RehearsalRow,
  refineOutputs,
  samplingOption,
  synthesisShape,
  synthesizeInstances,
} from './self-synthesized-rehearsal.js';
import { pathIntegral, synapticImportance } from './synaptic-intelligence.js';

const rowsShape = { rowsPerTask: integer({ default: 64, min: 1 }), seed: integer({ default: 0, min: 0 }) };
const lambda = number({ min: 0 });
const fisherShape = { lambda, ...rowsShape, samples: integer({ default: 1, min: 1 }) };
const RING = 32;
const isBuffer = (value: unknown) => typeof (value as Partial<ReplayBuffer<SftRow>> | null)?.add === 'function';
const unit = { min: 0, max: 1 };
const { generatorName: _named, ...generativeShape } = generativeReplayShape;
const declared = {
  coma: options('continualMethods.coma', { lambda: number({ default: 0.5, ...unit }) }),
  ewc: options('continualMethods.ewc', fisherShape),
  online_ewc: options('continualMethods.online_ewc', { ...fisherShape, gamma: number({ default: 1, ...unit }) }),
  mas: options('continualMethods.mas', { lambda, ...rowsShape }),
  si: options('continualMethods.si', { c: number({ min: 0 }), xi: number({ default: 0.1, above: 0 }) }),
  l2_sp: options('continualMethods.l2_sp', { alpha: number({ min: 0 }) }),
  lwf: options('continualMethods.lwf', {
    lambda: number({ default: 1, min: 0 }),
    temperature: number({ default: 2, above: 0 }),
  }),
  replay: options('continualMethods.replay', {
    buffer: custom<ReplayBuffer<SftRow>>()('a replay buffer', isBuffer, { optional: true, decisive: false }),
    gamma: number({ default: 1, min: 0 }),
    seed: integer({ default: 0, min: 0 }),
  }),
  generative_replay: options('continualMethods.generative_replay', generativeShape),
  gem: options('continualMethods.gem', { memoryStrength: number({ default: 0.5, min: 0 }), ...rowsShape }),
  a_gem: options('continualMethods.a_gem', { batchSize: integer({ default: 8, min: 1 }), ...rowsShape }),
  ssr: options('continualMethods.ssr', {
    ...synthesisShape,
    demonstrations: integer({ default: 8, min: 1 }),
    answers: samplingOption,
    gamma: number({ min: 0, optional: true }),
  }),
};

/** How many rows of a task a method looks at, or keeps. */
interface OfTask {
  /** Rows of a task that are looked at, drawn without replacement. Default 64. */
  readonly rowsPerTask?: number;
  /** Of all that is drawn. Default 0. */
  readonly seed?: number;
}

function drawnRows({ trainingRows, index }: LearntTask, { rowsPerTask, seed }: Required<OfTask>): TrainingRow[] {
  const rows = trainingRows();
  return drawWithout(Key.fromSeed(seed).child(index), rows.length, rowsPerTask).map((i) => rows[i]!);
}

/** What a method was made with, by name. */
const madeWith = (given: object): DecisiveSettings => settingsOf({ ...given }) as DecisiveSettings;

/** Options of SSR. */
type SsrOptions = Given<typeof declared.ssr>;

/** What penalties about the last parameters share: importances that are added up, and the plan of them. */
function importanceMethod(
  name: string,
  given: object,
  lambda: number,
  importanceOf: (learnt: LearntTask, before: Named | undefined) => Promise<Named>,
): ContinualMethod & { begin(): StagePlan } {
  let known: { readonly anchors: Named; readonly fisher: Named } | undefined;
  return {
    ...{ name, family: 'regularisation', settings: madeWith(given) },
    begin: () => (known ? { penalties: [{ ...ewc({ ...known, lambda }), name }] } : {}),
    async end(learnt) {
      const fisher = await importanceOf(learnt, known?.fisher);
      known = { anchors: await learnt.trainer.copyParameters(), fisher };
    },
    state: () => known ?? null,
    load(state) {
      known = (state as typeof known | null) ?? undefined;
    },
  };
}

/** A rule for updates that is made of remembered rows of every earlier task. */
function memoryMethod(
  name: string,
  given: object,
  options: Required<OfTask>,
  ruleOf: (memories: readonly (readonly TrainingRow[])[]) => StagePlan['update'],
): ContinualMethod {
  let memories: readonly (readonly TrainingRow[])[] = [];
  return {
    ...{ name, family: 'replay', settings: madeWith(given) },
    begin: () => (memories.length > 0 ? { update: ruleOf(memories)! } : {}),
    end(learnt) {
      memories = [...memories, normalised(drawnRows(learnt, options))];
    },
    state: () => memories,
    load(state) {
      memories = state as typeof memories;
    },
  };
}

/**
 * Methods of continual learning for `trainStream`, each a function that makes one for one stream. The first task of a stream is learnt
 * without any of them. Each throws OptionError for what it cannot be made with.
 */
export const continualMethods = {
  ...adapterMethods,

  /** CoMA: after each task but the first θ ← λ θ_before + (1 − λ) θ (arXiv 2312.08977). Default λ 0.5. */
  coma(given: { readonly lambda?: number } = {}): ContinualMethod {
    const { lambda } = declared.coma.read(given);
    let before: Named | undefined;
    return {
      ...{ name: 'coma', family: 'regularisation', settings: madeWith({ lambda }) },
      async begin({ model, adapter, index }) {
        before = index > 0 ? (adapter?.parameters ?? model.weights) : undefined;
        return {};
      },
      async end({ model, adapter }) {
        if (!before) return undefined;
        const own = adapter?.parameters ?? model.weights;
        const mean = mapNamed(own, (x, name) => x.mul(1 - lambda).add(before![name]!.mul(lambda)));
        await realize(Object.values(mean), { engine: model.network.engine });
        if (adapter) return { model, adapter: withParameters(adapter, mean) };
        return { model: model.withWeights(mean), adapter };
      },
      state: () => null,
      load() {},
    };
  },

  /** The control: fine-tuning on one task after the other. */
  naive: (): ContinualMethod => ({ name: 'naive', family: 'none' }),

  /** `ewc` about the parameters after every earlier task, a penalty each (arXiv 1612.00796). */
  ewc(given: OfTask & { readonly lambda: number; readonly samples?: number }): ContinualMethod {
    const complete = declared.ewc.read(given);
    const { lambda, samples, ...options } = complete;
    let known: readonly { readonly anchors: Named; readonly fisher: Named }[] = [];
    return {
      ...{ name: 'ewc', family: 'regularisation', settings: madeWith(complete) },
      begin: () => ({ penalties: known.map((task) => ewc({ ...task, lambda })) }),
      async end(learnt) {
        const { seed } = options;
        const fisher = await fisherDiagonal(learnt.trainer, drawnRows(learnt, options), { seed, samples });
        known = [...known, { anchors: await learnt.trainer.copyParameters(), fisher }];
      },
      state: () => known,
      load(state) {
        known = state as typeof known;
      },
    };
  },

  /** One penalty about the last parameters, whose Fisher information fades by γ (online EWC, arXiv 1805.06370). Default γ 1. */
  online_ewc(
    given: OfTask & { readonly lambda: number; readonly gamma?: number; readonly samples?: number },
  ): ContinualMethod {
    const complete = declared.online_ewc.read(given);
    const { lambda, gamma, samples, ...options } = complete;
    return importanceMethod('online-ewc', complete, lambda, async (learnt, before) => {
      const { seed } = options;
      const { engine } = learnt.model.network;
      const fisher = await fisherDiagonal(learnt.trainer, drawnRows(learnt, options), { seed, samples });
      return addImportance(before, fisher, { gamma, engine });
    });
  },

  /** λ Σ Ω (θ - θ*)² with the importances of MAS, added up over tasks (arXiv 1711.09601). */
  mas(given: OfTask & { readonly lambda: number }): ContinualMethod {
    const complete = declared.mas.read(given);
    const { lambda, ...options } = complete;
    return importanceMethod('mas', complete, 2 * lambda, async (learnt, before) => {
      const { engine } = learnt.model.network;
      return addImportance(before, await masImportance(learnt.trainer, drawnRows(learnt, options)), { engine });
    });
  },

  /** c Σ Ω (θ - θ*)² with the path integrals of synaptic intelligence (arXiv 1703.04200). Default ξ 0.1. */
  si(given: { readonly c: number; readonly xi?: number }): ContinualMethod {
    const { c, xi } = declared.si.read(given);
    const { begin, ...method } = importanceMethod('si', { c, xi }, 2 * c, ({ trainer }, previous) =>
      synapticImportance(trainer, { xi, ...(previous && { previous }) }),
    );
    return { ...method, begin: () => ({ ...begin(), optimizer: pathIntegral as StagePlan['optimizer'] & object }) };
  },

  /** α/2 ‖θ - θ*‖², θ* being the parameters where the task begins (arXiv 1802.01483). */
  l2_sp(given: { readonly alpha: number }): ContinualMethod {
    const { alpha } = declared.l2_sp.read(given);
    let anchors: Named | undefined;
    return {
      ...{ name: 'l2-sp', family: 'regularisation', settings: { alpha } },
      begin: () => (anchors ? { penalties: [l2Sp({ anchors, alpha })] } : {}),
      async end({ trainer }) {
        anchors = await trainer.copyParameters();
      },
      state: () => anchors ?? null,
      load(state) {
        anchors = (state as Named | null) ?? undefined;
      },
    };
  },

  /** LwF: a divergence from the model before the task, on the rows of the task (arXiv 1606.09282). */
  lwf(given: { readonly lambda?: number; readonly temperature?: number } = {}): ContinualMethod {
    const { lambda, temperature } = declared.lwf.read(given);
    return {
      ...{ name: 'lwf', family: 'regularisation', settings: { lambda, temperature } },
      begin({ model, adapter, index, task }) {
        if (index === 0) return {};
        const { network, weights } = model;
        const hooks = adapter?.hooks(adapter.parameters);
        const teacher = { network, weights, ...(hooks && { hooks }) };
        return {
          loss: learningWithoutForgetting({ teacher, teacherName: `before ${task.name}`, lambda, temperature }),
        };
      },
    };
  },

  /** Rows of a memory among those of the task, which is filled between tasks (arXiv 1902.10486). Default: a ring of 32 rows a task, γ 1. */
  replay(
    given: { readonly buffer?: ReplayBuffer<SftRow>; readonly gamma?: number; readonly seed?: number } = {},
  ): ContinualMethod {
    const { buffer = ringBuffer<SftRow>(RING), gamma, seed } = declared.replay.read(given);
    return {
      ...{ name: 'replay', family: 'replay', settings: { buffer: buffer.name, gamma, seed } },
      begin: ({ task, index }) =>
        index > 0 ? { rows: experienceReplay(task.rows, { buffer, gamma, adds: false, seed }) } : {},
      end({ task }) {
        buffer.add(task.rows, task.name);
      },
      state: () => buffer.state(),
      load: (state) => buffer.load(state),
    };
  },

  /** Rows that the model before the task generates among those of the task (arXiv 1705.08690, 1909.03329). */
  generative_replay(options: Omit<GenerativeReplaySettings, 'generatorName'> = {}): ContinualMethod {
    const complete = declared.generative_replay.read(options);
    return {
      ...{ name: 'generative-replay', family: 'replay', settings: madeWith(complete) },
      begin({ model, adapter, task, index }) {
        if (index === 0) return {};
        const generator = new LocalGenerator(model, adapter ? { adapter: () => adapter } : {});
        return { rows: generativeReplay(task.rows, { ...complete, generator, generatorName: `before ${task.name}` }) };
      },
    };
  },

  /**
   * SSR: a base model writes instances of each task when it has been learnt, shown a few of its rows, and the model before the next
   * tasks answers them anew; they stand among the rows of the task (arXiv 2403.01244). Of a task no row is kept, and its rows must be texts with a
   * `prompt` and a `completion`. Default: 8 rows are shown, and every instance is rehearsed as often as a fresh row is learnt.
   *
   * @param options as `synthesizeInstances`; `demonstrations`: how many rows of a task the base model is shown, K of them at a time;
   *   `answers`: how the model before a task answers, by default greedily; `gamma`: rehearsed rows for each fresh one
   */
  ssr(given: SsrOptions): ContinualMethod {
    const { demonstrations, answers, gamma, ...options } = declared.ssr.read(given);
    let instances: readonly RehearsalRow[] = [];
    const { base, embedder, seed, ...numbers } = options;
    const settings = madeWith({ ...numbers, base: base.name, embedder: embedder.name, seed, demonstrations, answers });
    return {
      ...{ name: 'ssr', family: 'replay', settings: gamma === undefined ? settings : { ...settings, gamma } },
      async begin({ model, adapter, task }) {
        if (instances.length === 0) return {};
        const latest = new LocalGenerator(model, adapter ? { adapter: () => adapter } : {});
        const rehearsed = await refineOutputs(instances, latest, answers);
        if (rehearsed.length === 0) return {};
        const buffer = reservoirBuffer<SftRow>(rehearsed.length);
        buffer.add(rehearsed.map((row) => ({ ...row })));
        const share = gamma ?? rehearsed.length / task.rows.length;
        return { rows: experienceReplay(task.rows, { buffer, gamma: share, adds: false, seed }) };
      },
      async end({ task, index }) {
        const rows = task.rows.map(({ prompt, completion }) => ({ prompt, completion }));
        if (!rows.every((row): row is RehearsalRow => Object.values(row).every((part) => typeof part === 'string'))) {
          const problem = `ssr shows rows as texts with a prompt and a completion, and ${task.name} has others.`;
          throw new OptionError('INVALID_OPTION', 'trainStream', 'method', problem);
        }
        const drawn = drawWithout(Key.fromSeed(seed).child(index), rows.length, demonstrations);
        const shown = drawn.map((i) => rows[i]!);
        instances = [...instances, ...(await synthesizeInstances(shown, { ...options, seed: seed + index }))];
      },
      state: () => instances,
      load(state) {
        instances = state as typeof instances;
      },
    };
  },

  /** Steps that point against no earlier task (arXiv 1706.08840). Default γ 0.5. */
  gem(given: OfTask & { readonly memoryStrength?: number } = {}): ContinualMethod {
    const { memoryStrength, ...options } = declared.gem.read(given);
    return memoryMethod('gem', { memoryStrength, ...options }, options, (memories) =>
      gem({ memories, memoryStrength }),
    );
  },

  /** Steps that do not point against what is remembered as a whole (arXiv 1812.00420). Default: 8 rows for every update. */
  a_gem(given: OfTask & { readonly batchSize?: number } = {}): ContinualMethod {
    const { batchSize, ...options } = declared.a_gem.read(given);
    return memoryMethod('a-gem', { batchSize, ...options }, options, (memories) =>
      aGemRule({ memory: memories.flat(), batchSize, seed: options.seed }),
    );
  },
} as const;

/** The name of a method of `continualMethods`. */
export type ContinualMethodName = keyof typeof continualMethods;
