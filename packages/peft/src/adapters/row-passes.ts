import { iota, realize, type Tensor, tensor, tokenLogProbs, valueAndGrad, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { assertTokenIds, type LayerHooks } from '@posttrain/lm';
import type { Dense } from './dense.js';
import { AdapterConfigError } from './errors.js';
import type { AdapterTarget } from './layer-method.js';
import type { AdaptableModel } from './peft-adapter.js';

// What the base says of rows of token ids, for initial values that are made of it. One row is one pass.

/** @throws AdapterConfigError for an empty row and one longer than the context, TokenIdError for another tokenizer's ids */
export function checkRows({ config }: Pick<AdaptableModel, 'config'>, rows: readonly (readonly number[])[]): void {
  const { vocabSize, maxPositionEmbeddings: longest } = config;
  rows.forEach((row, i) => {
    assertTokenIds(vocabSize, row, `createAdapter, rows[${i}]`);
    if (row.length > 0 && row.length <= longest) return;
    throw new AdapterConfigError(`rows[${i}] has ${row.length} tokens; it needs 1 to ${longest}, the model's context`);
  });
}

function inputOf(row: readonly number[]) {
  const shape = [1, row.length];
  const tokens = tensor(Int32Array.from(row), shape, 'int32');
  return { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') };
}

/** Inputs [tokens, in] of linear layers in a pass of one row, by the names of the layers. */
export async function layerInputs(
  { network, weights }: AdaptableModel,
  targets: readonly Pick<AdapterTarget, 'name'>[],
  row: readonly number[],
): Promise<ReadonlyMap<string, Dense>> {
  const names = new Set(targets.map(({ name }) => name));
  const seen = new Map<string, Tensor>();
  const hooks: LayerHooks = {
    linear(x, layer) {
      if (names.has(layer.name)) seen.set(layer.name, x.reshape([x.size / layer.inFeatures, layer.inFeatures]));
      return layer.apply(x);
    },
  };
  const hidden = network.hidden(weights, inputOf(row), hooks);
  await realize([hidden, ...seen.values()], { engine: network.engine });
  const inputs = new Map<string, Dense>();
  for (const [name, x] of seen) {
    const [rows, columns] = x.shape as [number, number];
    inputs.set(name, { rows, columns, values: Float64Array.from(await x.data(), Number) });
  }
  return inputs;
}

/**
 * Gradients of the mean of −log p of a row's tokens after the first with respect to the weights of targets, as they are stored; the mean
 * over rows.
 */
export async function weightGradients(
  { network, weights }: AdaptableModel,
  targets: readonly AdapterTarget[],
  rows: readonly (readonly number[])[],
): Promise<ReadonlyMap<string, Tensor>> {
  const short = rows.findIndex((row) => row.length < 2);
  if (short >= 0) throw new AdapterConfigError(`rows[${short}] has no token after the first, so no gradient`);
  const own: Named = Object.fromEntries(targets.map(({ name, weight }) => [`${name}.weight`, weight]));
  let sums: Named = {};
  for (const row of rows) {
    const lossOf = (changed: Named): Tensor => {
      const all = { ...weights, ...changed };
      const states = network.hidden(all, inputOf(row)).slice(1, 0, row.length - 1);
      const targetIds = tensor(Int32Array.from(row.slice(1)), [row.length - 1], 'int32');
      const output = network.outputLayer(all, states.reshape([row.length - 1, states.shape[2]!]));
      const { logProbs } = tokenLogProbs(output.states, output.matrix, targetIds, { softCap: network.logitSoftCap });
      return logProbs.mean().neg();
    };
    const { gradient } = valueAndGrad(lossOf)(own);
    const next = Object.entries(gradient as Named).map(([name, g]) => [name, sums[name]?.add(g) ?? g] as const);
    await realize(
      next.map(([, g]) => g),
      { engine: network.engine },
    );
    sums = Object.fromEntries(next);
  }
  const means = targets.map(({ name }) => [name, sums[`${name}.weight`]!.div(rows.length)] as const);
  await realize(
    means.map(([, g]) => g),
    { engine: network.engine },
  );
  return new Map(means);
}
