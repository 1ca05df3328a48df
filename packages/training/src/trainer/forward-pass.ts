import { nameScope, type Tensor } from '@posttrain/core-tensor';
import type { HiddenOptions, LayerHooks, Weights } from '@posttrain/lm';
import type { ForwardPass, LossInputs, Read, Readout, ReadoutValue } from '../loss/loss.js';
import type { RowBatch } from '../loss/rows.js';
import type { TrainableNetwork } from '../loss/trainable-network.js';

/** What a loss sees of a batch beside the readouts. */
export function lossInputs(
  { weights, segments, annotations, groups }: RowBatch,
  scalars: Readonly<Record<string, Tensor>>,
): LossInputs {
  return { weights, segments, annotations, scalars, ...(groups && { groups }) };
}

/** A pass over rows, to be traced: hidden states and readouts are made when they are first asked for. */
export function forwardPass(
  network: TrainableNetwork,
  weights: Weights,
  batch: RowBatch,
  {
    hooks,
    running = hooks,
    ...options
  }: HiddenOptions & {
    readonly hooks: LayerHooks;
    /** The same, watched: what this pass runs over. Default: `hooks`. */
    readonly running?: LayerHooks;
  },
): ForwardPass {
  let hidden: Tensor | undefined;
  const known = new Map<object, ReadoutValue>();
  const read: Read = <T extends ReadoutValue>(readout: Readout<T>): T => {
    // Nodes of the model are named after its modules, not after the loss that asks for them.
    const value = known.get(readout) ?? nameScope(undefined, () => readout.compute(pass));
    known.set(readout, value);
    return value as T;
  };
  const pass: ForwardPass = {
    ...{ network, weights, hooks, batch, read },
    again: (other) => forwardPass(network, weights, batch, { ...options, hooks: other }),
    beside: (other) => forwardPass(other.network, other.weights, batch, { hooks: other.hooks ?? {} }),
    get hidden() {
      hidden ??= nameScope(undefined, () => network.hidden(weights, batch, running, options));
      return hidden;
    },
  };
  return pass;
}
