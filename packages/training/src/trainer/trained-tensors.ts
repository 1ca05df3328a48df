import { type Compiled, compile, leavesOf, scalar, Tensor } from '@posttrain/core-tensor';
import { globalNorm, mapNamed, type Named, type Optimizer } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import { copiesOf, firstUnlike } from './parameters.js';

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

/** What is trained, and the rule that changes it. */
export class TrainedTensors {
  #trained: Trained;
  readonly #optimizer: Optimizer<object>;
  readonly #maxGradNorm: number;
  readonly #norms: Compiled<[gradients: Named], { readonly all: Tensor; readonly clipped: Tensor }>;
  readonly #update: Compiled<
    [trained: Trained, gradients: Named, factors: Named, learningRate: Tensor],
    { trained: Trained }
  >;

  constructor(optimizer: Optimizer<object>, maxGradNorm: number, parameters: Named) {
    this.#optimizer = optimizer;
    this.#maxGradNorm = maxGradNorm;
    this.#trained = { parameters, state: optimizer.init(parameters) };
    const clips = (name: string, like: Tensor) => optimizer.clips?.(name, like) ?? false;
    this.#norms = compile(
      (gradients) => {
        const shared = Object.fromEntries(Object.entries(gradients).filter(([name, g]) => !clips(name, g)));
        const [all, count] = [globalNorm(gradients), Object.keys(shared).length];
        return { all, clipped: count === Object.keys(gradients).length || count === 0 ? all : globalNorm(shared) };
      },
      { name: 'gradNorm' },
    );
    this.#update = compile(
      ({ parameters: current, state }, gradients, factors, learningRate) => {
        const used = mapNamed(gradients, (g, name) => g.mul(clips(name, g) ? factors.unscale! : factors.clip!));
        return { trained: optimizer.update(current, used, state, learningRate) };
      },
      { name: 'optimStep', donate: { 0: 'trained' } },
    );
  }

  get parameters(): Named {
    return this.#trained.parameters;
  }

  /** All that a resumed run needs. */
  get saved(): Trained {
    return this.#trained;
  }

  restore(trained: Trained): void {
    this.#trained = trained;
  }

  /** Puts copies of other numbers in the place of the trained tensors. @throws PosttrainError PARAMETERS */
  async assign(parameters: Named, step: number): Promise<void> {
    const wrong = firstUnlike(this.parameters, parameters);
    if (wrong) {
      const problem = `parameters are given, but there is none of the shape of ${wrong}`;
      throw new PosttrainError('PARAMETERS', `step ${step}: ${problem}`);
    }
    const own = Object.fromEntries(Object.keys(this.parameters).map((name) => [name, parameters[name]!]));
    this.#trained = { ...this.#trained, parameters: await copiesOf(own) };
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
    const { parameters, state } = this.#trained;
    const ready = (await this.#optimizer.refresh?.(gradients, state, step)) ?? state;
    const factors = { clip: scalar(clip / scale), unscale: scalar(1 / scale) };
    const { trained } = await this.#update({ parameters, state: ready }, gradients, factors, scalar(learningRate));
    this.#trained = trained;
  }

  /** The optimizer state, by parameter. */
  get optimizerState(): Readonly<Record<string, ParameterState>> {
    const state: Record<string, Record<string, Tensor>> = mapNamed(this.parameters, () => ({}));
    collect(this.#trained.state, '', {}, state);
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
