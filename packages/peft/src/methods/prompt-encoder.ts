import { type Key, normal, type Tensor, uniform } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { applyLinear } from '@posttrain/lm';
import { AdapterTrainingError } from '../adapters/errors.js';
import type { AdapterTensors } from '../adapters/peft-method.js';
import { PROMPT_EMBEDDINGS } from './prompt-learning.js';

// What P-tuning and prefix tuning with a projection have in common: a network that is trained in the place of what it computes.
// Files have what it computes, so that nobody needs the network to use it.

/** PEFT's name of the network in a model, before the names of its tensors. */
const PREFIX = 'prompt_encoder';

/** The embedding [v, width] that the network reads. */
export const ENCODED = `${PREFIX}.embedding.weight`;

/** As torch starts an embedding. Lazy, as all of the network: an adapter from a file has none. */
export const embeddingStart = (key: Key, count: number, width: number): Named => ({
  [ENCODED]: normal(key.toTensor(), [count, width]),
});

const within = (key: Key, shape: readonly number[], bound: number): Tensor =>
  uniform(key.toTensor(), shape)
    .mul(2 * bound)
    .sub(bound);

/** Linear layers of these sizes by their places in a `torch.nn.Sequential` with a function between each two, as torch starts them. */
export function sequentialStart(key: Key, name: string, sizes: readonly number[]): Named {
  const made: Record<string, Tensor> = {};
  for (const [i, inputs] of sizes.slice(0, -1).entries()) {
    const layer = `${PREFIX}.${name}.${2 * i}`;
    made[`${layer}.weight`] = within(key.child(2 * i), [sizes[i + 1]!, inputs], inputs ** -0.5);
    made[`${layer}.bias`] = within(key.child(2 * i + 1), [sizes[i + 1]!], inputs ** -0.5);
  }
  return made;
}

/** `count` such layers, with `activation` between each two. */
export function sequential(
  x: Tensor,
  trained: Named,
  {
    name,
    count,
    activation,
  }: { readonly name: string; readonly count: number; readonly activation: (x: Tensor) => Tensor },
): Tensor {
  return Array.from({ length: count }).reduce<Tensor>((y, _, i) => {
    const layer = `${PREFIX}.${name}.${2 * i}`;
    return applyLinear(i === 0 ? y : activation(y), trained[`${layer}.weight`]!, trained[`${layer}.bias`]!, false);
  }, x);
}

const lstmName = (kind: string, layer: number, isReverse: boolean): string =>
  `${PREFIX}.lstm_head.${kind}_l${layer}${isReverse ? '_reverse' : ''}`;

const DIRECTIONS = [false, true] as const;

/** A bidirectional `torch.nn.LSTM` of `layers` layers, as torch starts it: uniform in ±1/√hidden. */
export function lstmStart(
  key: Key,
  { inputs, hidden, layers }: { readonly inputs: number; readonly hidden: number; readonly layers: number },
): Named {
  const made: Record<string, Tensor> = {};
  let i = 0;
  for (let layer = 0; layer < layers; layer++) {
    for (const isReverse of DIRECTIONS) {
      const add = (kind: string, shape: readonly number[]) => {
        made[lstmName(kind, layer, isReverse)] = within(key.child(i++), shape, hidden ** -0.5);
      };
      add('weight_ih', [4 * hidden, layer === 0 ? inputs : 2 * hidden]);
      add('weight_hh', [4 * hidden, hidden]);
      add('bias_ih', [4 * hidden]);
      add('bias_hh', [4 * hidden]);
    }
  }
  return made;
}

/**
 * The LSTM over x [v, inputs]: [v, 2 · hidden], forwards beside backwards. (i, f, g, o) = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh,
 * c_t = σ(f) c_{t−1} + σ(i) tanh g, h_t = σ(o) tanh c_t. `between` is applied to what a layer gives to the next one.
 */
export function lstm(
  x: Tensor,
  trained: Named,
  { layers, between }: { readonly layers: number; readonly between: (x: Tensor, layer: number) => Tensor },
  join: (parts: readonly Tensor[], axis: number) => Tensor,
): Tensor {
  const direction = (input: Tensor, layer: number, isReverse: boolean): Tensor => {
    const of = (kind: string) => trained[lstmName(kind, layer, isReverse)]!;
    const count = input.shape[0]!;
    const hidden = of('weight_hh').shape[1]!;
    const read = applyLinear(input, of('weight_ih'), of('bias_ih').add(of('bias_hh')), false);
    const states: Tensor[] = [];
    let cell: Tensor | undefined;
    for (let step = 0; step < count; step++) {
      const t = isReverse ? count - 1 - step : step;
      const own = read.slice(0, t, t + 1);
      const before = states.at(-1);
      const gates = before ? own.add(applyLinear(before, of('weight_hh'), undefined, false)) : own;
      const gate = (i: number) => gates.slice(1, i * hidden, (i + 1) * hidden);
      const added = gate(0).sigmoid().mul(gate(2).tanh());
      cell = cell ? gate(1).sigmoid().mul(cell).add(added) : added;
      states.push(gate(3).sigmoid().mul(cell.tanh()));
    }
    return join(isReverse ? states.reverse() : states, 0);
  };
  let y = x;
  for (let layer = 0; layer < layers; layer++) {
    const input = layer === 0 ? y : between(y, layer);
    y = join(
      DIRECTIONS.map((isReverse) => direction(input, layer, isReverse)),
      1,
    );
  }
  return y;
}

/**
 * What stands before every sequence: what a file had, or what the network computes.
 *
 * @throws AdapterTrainingError for a training step of what a file had
 */
export function encoded(
  method: string,
  { trained }: Pick<AdapterTensors, 'trained'>,
  encode: (embeddings: Tensor) => Tensor,
  instead: string,
  dropoutKey?: Tensor,
): Tensor {
  const stored = trained[PROMPT_EMBEDDINGS];
  if (stored && dropoutKey) {
    throw new AdapterTrainingError(
      `${method}: the file of this adapter has what its encoder computes and not the encoder, so it cannot be trained further (PEFT would begin with a new encoder over it): ${instead}`,
    );
  }
  return stored ?? encode(trained[ENCODED]!);
}
