import { type Compiled, compile, leavesOf, scalar, Tensor } from '@posttrain/core-tensor';
import { globalNorm, mapNamed, type Named, type Optimizer } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import { type OffloadOptimizerOptions, readOffloadOptions } from './offload-options.js';
import { type CompiledUpdate, OffloadedState } from './offloaded-state.js';
import { copiesOf, firstUnlike } from './parameters.js';
import { hostStore, type StateStore } from './state-store.js';

/** The optimizer's state is a tree of tensors by what they are, with those of parameters by name. */
export interface Trained {
  readonly parameters: Named;
  readonly state: object;
}

/** The optimizer state of one parameter, by the optimizer's own names. Donated to the next update. */
export interface ParameterState extends Readonly<Record<string, Tensor | undefined>> {
  /** Updates made, an int32 scalar. */
  readonly step?: Tensor;
  /** Adam's m: the mean of the gradients, of the parameter's shape. */
  readonly mean?: Tensor;
  /** Adam's v: the mean of their squares. */
  readonly square?: Tensor;
}

/** Norms of gradients, multiplied by the loss scale as they are. */
export interface GradientNorms {
  /** Of all together. */
  readonly all: number;
  /** Of those that the trainer clips: all but what the optimizer clips itself. */
  readonly clipped: number;
}

/** torch's: what is added to the norm that gradients are divided by. */
const CLIP_EPSILON = 1e-6;

/** Where the state is between updates, and how many elements of the parameters are updated together. */
export interface Offload {
  readonly store: StateStore;
  readonly subGroupSize: number;
}

/** What options say of it. @throws OptionError, FileError */
export async function offloadOf(given: OffloadOptimizerOptions): Promise<Offload> {
  const { nvmePath, subGroupSize } = readOffloadOptions(given);
  // A browser has no files.
  const store = nvmePath === undefined ? hostStore() : await (await import('./state-file.js')).fileStore(nvmePath);
  return { store, subGroupSize };
}

/** What is trained, and the rule that changes it. */
export class TrainedTensors {
  #parameters: Named;
  #state: object | OffloadedState;
  readonly #optimizer: Optimizer<object>;
  readonly #maxGradNorm: number;
  readonly #norms: Compiled<[gradients: Named], { readonly all: Tensor; readonly clipped: Tensor }>;
  readonly #update: CompiledUpdate;

  constructor(optimizer: Optimizer<object>, maxGradNorm: number, parameters: Named, offload?: Offload) {
    this.#optimizer = optimizer;
    this.#maxGradNorm = maxGradNorm;
    this.#parameters = parameters;
    const clips = (name: string, like: Tensor) => optimizer.clips?.(name, like) ?? false;
    this.#norms = compile(
      (gradients) => {
        const shared = Object.fromEntries(Object.entries(gradients).filter(([name, g]) => !clips(name, g)));
        const [all, count] = [globalNorm(gradients), Object.keys(shared).length];
        return { all, clipped: count === Object.keys(gradients).length || count === 0 ? all : globalNorm(shared) };
      },
      { name: 'gradNorm' },
    );
    const compileUpdate = (): CompiledUpdate =>
      compile(
        ({ parameters: current, state }, gradients, factors, learningRate) => {
          const used = mapNamed(gradients, (g, name) => g.mul(clips(name, g) ? factors.unscale! : factors.clip!));
          return { trained: optimizer.update(current, used, state, learningRate) };
        },
        { name: 'optimStep', donate: { 0: 'trained' } },
      );
    this.#update = compileUpdate();
    this.#state = offload
      ? new OffloadedState(optimizer, parameters, { ...offload, compileUpdate })
      : optimizer.init(parameters);
  }

  get parameters(): Named {
    return this.#parameters;
  }

  /** All that a resumed run needs. */
  get saved(): Trained {
    const state = this.#state instanceof OffloadedState ? this.#state.saved : this.#state;
    return { parameters: this.#parameters, state };
  }

  restore({ parameters, state }: Trained): void {
    this.#parameters = parameters;
    if (this.#state instanceof OffloadedState) this.#state.restore(state);
    else this.#state = state;
  }

  /** Puts copies of other numbers in the place of the trained tensors. @throws PosttrainError PARAMETERS */
  async assign(parameters: Named, step: number): Promise<void> {
    const wrong = firstUnlike(this.parameters, parameters);
    if (wrong) {
      const problem = `parameters are given, but there is none of the shape of ${wrong}`;
      throw new PosttrainError('PARAMETERS', `step ${step}: ${problem}`);
    }
    const own = Object.fromEntries(Object.keys(this.parameters).map((name) => [name, parameters[name]!]));
    this.#parameters = await copiesOf(own);
  }

  async norms(gradients: Named): Promise<GradientNorms> {
    const { all, clipped } = await this.#norms(gradients);
    return { all: await all.item(), clipped: await clipped.item() };
  }

  /** One update by gradients that are multiplied by `scale`, clipped by their `norm`, which is not. */
  async apply(
    gradients: Named,
    { norm, scale, learningRate, step }: Readonly<Record<'norm' | 'scale' | 'learningRate' | 'step', number>>,
  ): Promise<void> {
    const clip = this.#maxGradNorm > 0 ? Math.min(1, this.#maxGradNorm / (norm + CLIP_EPSILON)) : 1;
    const factors = { clip: scalar(clip / scale), unscale: scalar(1 / scale) };
    const [parameters, state, rate] = [this.#parameters, this.#state, scalar(learningRate)];
    if (state instanceof OffloadedState) {
      this.#parameters = await state.update(parameters, gradients, factors, rate);
      return;
    }
    const ready = (await this.#optimizer.refresh?.(gradients, state, step)) ?? state;
    const { trained } = await this.#update({ parameters, state: ready }, gradients, factors, rate);
    this.#parameters = trained.parameters;
    this.#state = trained.state;
  }

  /** The optimizer state, by parameter. */
  get optimizerState(): Readonly<Record<string, ParameterState>> {
    const state: Record<string, Record<string, Tensor>> = mapNamed(this.parameters, () => ({}));
    collect(this.saved.state, '', {}, state);
    return state;
  }
}

/** Wrapped optimizers: under these names an optimizer has the states of others. */
const WRAPPERS = new Set(['groups', 'inner', 'rest']);

/**
 * Puts tensors that stand under the name of a parameter with it, and those beside them (a count of steps) with each.
 */
function collect(
  branch: object,
  kind: string,
  shared: Named,
  into: Readonly<Record<string, Record<string, Tensor>>>,
): void {
  const entries = Object.entries(branch);
  const isByParameter = entries.length > 0 && entries.every(([name]) => name in into);
  if (isByParameter) {
    for (const [name, value] of entries) {
      for (const { path, tensor } of leavesOf(value instanceof Tensor ? { value } : value)) {
        Object.assign(into[name]!, shared, { [path === 'value' ? kind : `${kind}.${path}`]: tensor });
      }
    }
    return;
  }
  const scalars = Object.fromEntries(entries.filter(([, value]) => value instanceof Tensor));
  for (const [name, value] of entries) {
    if (value instanceof Tensor || typeof value !== 'object' || value === null) continue;
    const isWrapper = Array.isArray(branch) || WRAPPERS.has(name);
    const inner = isWrapper ? kind : kind ? `${kind}.${name}` : name;
    collect(value, inner, { ...shared, ...scalars }, into);
  }
}
