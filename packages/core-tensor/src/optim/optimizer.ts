import { custom, type DecisiveSettings, number } from '@posttrain/interfaces';
import type { Tensor } from '../tensor.js';

/** Parameters, gradients and moments by name. */
export type Named = Readonly<Record<string, Tensor>>;

/**
 * An update rule as a pure function of tensors, to be called inside a compiled step. Its state is a tree of tensors,
 * so that it is checkpointed, resumed and donated like any other.
 */
export interface Optimizer<State> {
  readonly name: string;
  /** What it was made with: a resumed run must share it. */
  readonly settings: DecisiveSettings;
  /** State for parameters that have not been updated yet, in memory of its own. */
  init(parameters: Named): State;
  /**
   * One update. `learningRate` is a float32 scalar tensor (a per-step input, never a constant of the graph).
   * Parameters without a gradient are returned unchanged.
   */
  update(
    parameters: Named,
    gradients: Named,
    state: State,
    learningRate: Tensor,
  ): { readonly parameters: Named; readonly state: State };
  /**
   * Work that is too rare to be part of every compiled update (GaLore's new projections). To be called before update
   * `step`, counted from 0; undefined when there is nothing to do. The tensors that it returns replace those of the
   * state under the same paths; all others stay the same tensors.
   */
  refresh?(gradients: Named, state: State, step: number): Promise<State> | undefined;
  /** Which parameters have a gradient at all; a trainer computes none for the others. Left out: all. */
  readonly trains?: ParameterFilter;
  /** Whose gradients the rule clips itself: the norm that a trainer clips by leaves them out. Left out: none. */
  readonly clips?: ParameterFilter;
  /**
   * Whether the update of a parameter depends on its own gradient and state only (and a count of updates): then groups of them may be
   * updated one after the other, the states of the others being elsewhere. Left out: no.
   */
  readonly isPerParameter?: boolean;
}

/** Applies `f` to every entry. */
export function mapNamed<T>(named: Named, f: (tensor: Tensor, name: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(named).map(([name, tensor]) => [name, f(tensor, name)]));
}

/** Which parameters something applies to, by name. */
export type ParameterFilter = (name: string, parameter: Tensor) => boolean;

/** What decays unless said otherwise: all with two or more axes, so neither biases nor norms. */
export const decaysByDefault: ParameterFilter = (_, parameter) => parameter.rank >= 2;

const isFunction = (value: unknown): boolean => typeof value === 'function';

/** Options of every rule that has a decay. */
export const decayOptions = {
  /** Decay of the parameters. Default 0, as in Hugging Face's trainers. */
  weightDecay: number({ default: 0, min: 0 }),
  /** Which parameters decay, by name. Default: all with two or more axes (not biases, not norms). */
  decays: custom<ParameterFilter>()('a function of name and parameter', isFunction, { optional: true }),
};

/** Which parameters another rule applies to, and that rule for the rest. */
export const splitOptions = {
  /** Which parameters the rule updates. Default: matrices that are neither an embedding nor the head. */
  appliesTo: custom<ParameterFilter>()('a function of name and parameter', isFunction, { optional: true }),
  /** For the others. Default: AdamW with the same decay. */
  others: custom<Optimizer<object>>()('an optimizer', (value) => typeof value === 'object', { optional: true }),
};

/** θ (1 - ηλ), the decoupled decay of a parameter that decays. */
export function decayed(parameter: Tensor, learningRate: Tensor, weightDecay: number): Tensor {
  return weightDecay === 0 ? parameter : parameter.mul(learningRate.mul(-weightDecay).add(1));
}
