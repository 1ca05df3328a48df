import type { Tensor } from '../tensor.js';

/** Parameters, gradients and moments by name. */
export type Named = Readonly<Record<string, Tensor>>;

/**
 * An update rule as a pure function of tensors, to be called inside a compiled step. Its state is a tree of tensors,
 * so that it is checkpointed, resumed and donated like any other.
 */
export interface Optimizer<State> {
  readonly name: string;
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
}

/** Applies `f` to every entry. */
export function mapNamed<T>(named: Named, f: (tensor: Tensor, name: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(named).map(([name, tensor]) => [name, f(tensor, name)]));
}
