import { type Engine, Key, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, type Given, integer, options, text } from '@posttrain/interfaces';
import { assertMethod, assertModel } from './arguments.js';
import { AdapterConfigError, AdapterFileError } from './errors.js';
import { storedNumbers } from './file-tensors.js';
import { fingerprintOf } from './fingerprint.js';
import type { LayerMethod, TargetedConfig } from './layer-method.js';
import type { AdaptableModel, PeftAdapter, TaskType } from './peft-adapter.js';
import type { AdapterTensors, MethodContext, PeftMethod } from './peft-method.js';
import { asPeftMethod } from './per-layer.js';
import { checkRows } from './row-passes.js';
import { saveAdapter } from './save-adapter.js';
import type { SkippedModule } from './targets.js';
import { initialCopies, trainsCopies, withWholeModules } from './whole-modules.js';

const isRows = (value: unknown): boolean =>
  Array.isArray(value) && value.every((row) => Array.isArray(row) && row.every(Number.isInteger));

const createAdapterOptions = options('createAdapter', {
  /** For the random initial values. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Default `default`. */
  name: text({ default: 'default' }),
  /** Token ids of rows that a method's initial values are made from, where it looks at activations or gradients. Default: none. */
  rows: custom<readonly (readonly number[])[]>()('a list of lists of token ids', isRows, { default: [] }),
});
/** Options of `createAdapter`. */
export type CreateAdapterOptions = Given<typeof createAdapterOptions>;

/** A method in either form. */
export type AnyPeftMethod<Config extends object> =
  | PeftMethod<Config>
  | (Config extends TargetedConfig ? LayerMethod<Config> : never);

/**
 * A new adapter for a model: `await createAdapter(model, lora, { r: 16, targetModules: 'all-linear' })`. The model is
 * not changed; give the adapter to what runs it. The head of a classifier, a reward model or a value model is trained
 * whole, as PEFT does it (`modulesToSave`).
 *
 * @throws TargetModulesError when a pattern matches nothing; AdapterConfigError; OptionError
 */
export async function createAdapter<Config extends object>(
  model: AdaptableModel,
  method: AnyPeftMethod<Config>,
  config: Partial<Config> = {},
  given: CreateAdapterOptions = {},
): Promise<PeftAdapter<Config>> {
  assertModel('createAdapter', model);
  assertMethod('createAdapter', method);
  const general = asPeftMethod(method as PeftMethod | LayerMethod) as PeftMethod<Config>;
  const { adapter, initial } = await planAdapter(model, general, config, createAdapterOptions.read(given));
  const { engine } = model.network;
  return adapter({ trained: await copied(initial.trained, engine), frozen: await copied(initial.frozen, engine) });
}

/** In memory of their own: training may give a parameter away, and a whole module starts as the base's own tensor. */
export async function copied(tensors: Named, engine: Engine): Promise<Named> {
  await realize(Object.values(tensors), { engine });
  const copies: Record<string, Tensor> = {};
  for (const [name, value] of Object.entries(tensors)) {
    const { data, dtype } = await storedNumbers(value);
    copies[name] = tensor(data, value.shape, dtype);
  }
  return copies;
}

/** The same adapter with other numbers, as training makes them. */
export const withAdapterParameters = <Config extends object>(
  adapter: PeftAdapter<Config>,
  parameters: Named,
): PeftAdapter<Config> => ({ ...adapter, parameters });

/** What an adapter is planned with. */
interface PlanOptions {
  readonly name: string;
  readonly seed?: number;
  readonly rows?: readonly (readonly number[])[];
  /** Of a file that it is loaded from. */
  readonly file?: AdapterFileSize;
}

interface Planned<Config extends object> {
  /** Lazy tensors, of which loading only reads the shapes. */
  readonly initial: AdapterTensors;
  readonly context: MethodContext<Config>;
  adapter(tensors: AdapterTensors): Promise<PeftAdapter<Config>>;
}

/** Everything about an adapter but its numbers. */
export async function planAdapter<Config extends object>(
  model: AdaptableModel,
  method: PeftMethod<Config>,
  given: Partial<Config>,
  { seed = 0, name, rows = [], file }: PlanOptions,
): Promise<Planned<Config>> {
  const complete = method.options.read(given);
  checkRows(model, rows);
  const asked: Config = file ? complete : withHead(model, complete);
  const key = Key.fromSeed(seed);
  const planned = await (file
    ? method.plan(model, asked, 'any entry')
    : method.plan(model, asked, 'every entry', { rows, key }));
  const { config, plan, skipped } = planned;
  const context: MethodContext<Config> = { config, plan, model: model.config };
  checkSize(model, method, context, file);
  const made = await method.prepare?.({ ...context, base: model, rows, key, isLoaded: file !== undefined });
  const prepared = { ...made, ...planned.prepared };
  const own = method.init(context, model, key, prepared);
  const initial = { trained: { ...own.trained, ...initialCopies(model, plan) }, frozen: own.frozen };
  return { initial, context, adapter: (tensors) => adapterOf(model, method, { name, context, skipped, tensors }) };
}

interface AdapterParts<Config extends object> {
  readonly name: string;
  readonly context: MethodContext<Config>;
  readonly skipped: readonly SkippedModule[];
  readonly tensors: AdapterTensors;
}

/** The adapter with these numbers. */
async function adapterOf<Config extends object>(
  model: AdaptableModel,
  method: PeftMethod<Config>,
  { name, context, skipped, tensors: { trained: parameters, frozen } }: AdapterParts<Config>,
): Promise<PeftAdapter<Config>> {
  const { config, plan } = context;
  const trainableParameters = Object.values(parameters).reduce((sum, { size }) => sum + size, 0);
  const hooksWith = (trained: Named, dropoutKey?: Tensor) => {
    const own = method.hooks(context, { trained, frozen: inTypeOf(trained, frozen) }, dropoutKey);
    return withWholeModules(plan, trained, own);
  };
  const hooks = (trained: Named) => hooksWith(trained);
  const isPlain = !trainsCopies(plan);
  const lowRank = (trained: Named) => (isPlain ? method.lowRank?.(context, { trained, frozen }) : undefined);
  const virtualTokens = method.virtualTokens?.(config);
  const rowInputs = method.rowInputs?.(config);
  const contextLabels = method.contextLabels?.(config);
  const { penalty, optimizer } = method;
  const adapter: PeftAdapter<Config> = {
    ...{ name, method, config, plan, parameters, frozen },
    ...{ model: model.config, baseModel: model.name, taskType: taskTypeOf(model) },
    report: {
      matched: [...plan.targets, ...partsOf(plan), ...plan.norms, ...followersOf(plan)].map((module) => module.name),
      skipped,
      trainableParameters,
      totalParameters: model.storage.parameters + trainableParameters,
    },
    identity: { peftType: method.peftType, ...decisiveOf(method, config), ...(await fingerprintOf(frozen)) },
    stochastic: method.stochastic?.(config),
    ...{ hooks, trainingHooks: hooksWith },
    ...(virtualTokens !== undefined && { virtualTokens }),
    ...(rowInputs && { rowInputs }),
    ...(contextLabels && { contextLabels }),
    ...(method.earlierPass?.(config) && { earlierPass: true }),
    ...(lowRank(parameters) && { lowRank: (trained) => lowRank(trained)! }),
    ...(method.derive && {
      derived: (trained, base) => ({
        ...trained,
        ...method.derive!(context, { trained, frozen: inTypeOf(trained, frozen) }, base),
      }),
    }),
    ...(method.changesBase?.(config) && { reference: { name: `${name} as it was made`, parameters, hooks } }),
    ...(penalty && { penalty: (trained) => penalty(trained, config) }),
    ...(optimizer && { optimizer: (inner) => optimizer(inner, config) }),
    save: (folder, current) => saveAdapter(folder, withAdapterParameters(adapter, current)),
  };
  return adapter;
}

const followersOf = ({ tied }: MethodContext['plan']) => (tied?.by === 'targetModules' ? [tied.head] : []);

const partsOf = ({ fused = [] }: MethodContext['plan']) =>
  fused.flatMap(({ members }) => members.map(({ module }) => module));

/** The options that decide what an adapter computes. */
const decisiveOf = <Config extends object>({ options: { shape } }: PeftMethod<Config>, config: Config): object =>
  Object.fromEntries(Object.entries(config).filter(([name]) => shape[name]?.decisive ?? true));

/** Frozen tensors in the type that the trained ones have in a pass of mixed precision. */
function inTypeOf(trained: Named, frozen: Named): Named {
  const dtype = Object.values(trained)[0]?.dtype ?? 'float32';
  return Object.fromEntries(
    Object.entries(frozen).map(([name, value]) => [name, value.dtype === 'float32' ? value.cast(dtype) : value]),
  );
}

/** An adapter's file of tensors, as far as its header says. */
export interface AdapterFileSize {
  readonly path: string;
  /** Numbers in all tensors. */
  readonly numbers: number;
}

/** A new adapter may be this many times as large as its model, one of a file as the file; up to `SMALL` anyway. */
const MOST_TIMES = { base: 16, file: 4 };
/** What is smaller costs nothing to make, and gets a message that says more. */
const SMALL = 2 ** 20;

/** Refuses a rank that no file backs, or nobody means, before tensors of it are made. */
function checkSize<Config extends object>(
  model: AdaptableModel,
  method: PeftMethod<Config>,
  context: MethodContext<Config>,
  file: AdapterFileSize | undefined,
): void {
  const asked = method.parameters?.(context);
  if (asked === undefined) return;
  const { targets } = context.plan;
  if (file && asked > Math.max(MOST_TIMES.file * file.numbers, SMALL)) {
    throw new AdapterFileError(
      file.path,
      `adapter_config.json asks for ${asked} numbers in ${targets.length} modules, but the file has ${file.numbers}: is the rank right?`,
    );
  }
  const most = Math.max(MOST_TIMES.base * model.storage.parameters, SMALL);
  if (!file && asked > most) {
    throw new AdapterConfigError(
      `the adapter would have ${asked} parameters in ${targets.length} modules, where the model has ${model.storage.parameters}: is the rank right?`,
    );
  }
}

const TASK_TYPES = {
  'sequence-classification': 'SEQ_CLS',
  'token-classification': 'TOKEN_CLS',
  // TRL has its value head beside a causal language model, which PEFT sees alone.
  value: 'CAUSAL_LM',
} as const satisfies Record<string, TaskType>;

export const taskTypeOf = ({ config: { head } }: Pick<AdaptableModel, 'config'>): TaskType =>
  head ? TASK_TYPES[head.task] : 'CAUSAL_LM';

/** `modulesToSave` with the model's head, which may be new. */
function withHead<Config extends object>({ config: { head } }: AdaptableModel, config: Config): Config {
  if (!head) return config;
  if (!('modulesToSave' in config)) {
    throw new AdapterConfigError(
      'the head of a classifier must be trained whole, and this method has no modulesToSave',
    );
  }
  const given = config.modulesToSave as TargetedConfig['modulesToSave'];
  return { ...config, modulesToSave: [...new Set([...(given ?? []), head.module])] };
}
