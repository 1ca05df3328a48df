import { iota, realize, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { type DTypeArray, saveSafetensors } from '@posttrain/core-tensor/io';
import { assertPath } from '@posttrain/interfaces';
import { makeFolder } from '@posttrain/interfaces/node';
import type { LayerHooks } from '@posttrain/lm';
import { assertModel } from '../adapters/arguments.js';
import { MergeError } from '../adapters/errors.js';
import type { AdaptableModel } from '../adapters/peft-adapter.js';

/**
 * XᵀX [in, in] of the inputs X of every linear layer over all tokens of rows of token ids, by the name of its weight: what
 * RegMean needs of a model. One row is one pass. A layer of a mixture of experts sees its own tokens only.
 *
 * @throws MergeError without rows
 */
export async function gramMatrices(
  model: AdaptableModel,
  rows: readonly (readonly number[])[],
): Promise<Readonly<Record<string, Tensor>>> {
  assertModel('gramMatrices', model);
  if (rows.length === 0) throw new MergeError('gramMatrices: there are no rows');
  let sums: Record<string, Tensor> = {};
  for (const row of rows) {
    const next: Record<string, Tensor> = { ...sums };
    const hooks: LayerHooks = {
      linear(x, layer) {
        const name = `${layer.name}.weight`;
        const flat = x.reshape([x.size / layer.inFeatures, layer.inFeatures]);
        const own = flat.matmul(flat, { transposeA: true });
        next[name] = next[name] ? next[name].add(own) : own;
        return layer.apply(x);
      },
    };
    const shape = [1, row.length];
    const tokens = tensor(Int32Array.from(row), shape, 'int32');
    const input = { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') };
    const hidden = model.network.hidden(model.weights, input, hooks);
    await realize([hidden, ...Object.values(next)], { engine: model.network.engine });
    sums = next;
  }
  return sums;
}

/** Writes the Gram matrices of a model over rows of token ids into a folder, for the parameter `gram` of `regmean`. */
export async function saveGramMatrices(
  folder: string,
  model: AdaptableModel,
  rows: readonly (readonly number[])[],
): Promise<void> {
  assertPath('saveGramMatrices', 'folder', folder);
  const grams = await gramMatrices(model, rows);
  await makeFolder(folder);
  await saveSafetensors(
    folder,
    Object.entries(grams).map(([name, gram]) => ({
      ...{ name, dtype: 'float32' as const, shape: gram.shape },
      data: async () => Float32Array.from(await gram.data(), Number) as DTypeArray,
    })),
  );
}
