import type { Tensor } from '@posttrain/core-tensor';
import { type FloatMatrix, type Sparsity, sparseGpt, sparsityShape, wanda } from '@posttrain/core-tensor/quantization';
import { custom, type Given, listOf, number, oneOf, options, text } from '@posttrain/interfaces';
import { byBlock, inputStatistics, isRows, type LayerInputs, matrixOf, storedMatrix } from './calibration.js';
import type { Weights } from './layers.js';
import type { Network } from './network.js';
import { ModelQuantizationError, modulesToQuantize, refuseQuantized } from './quantize.js';

const METHODS = ['wanda', 'sparsegpt', 'magnitude'] as const;
const pruneOptions = options('prune', {
  /** How weights are chosen: `wanda` (arXiv 2306.11695), `sparsegpt` (arXiv 2301.00774), or `magnitude`: the smallest of a row. */
  method: oneOf(METHODS, {}),
  /** Token ids of rows that the model is to be good at: calibration, which `magnitude` does not need. */
  rows: custom<readonly (readonly number[])[]>()('a list of lists of token ids', isRows, {
    optional: true,
  }),
  ...sparsityShape,
  /** λ of H + λ·mean(diag H)·I, of `sparsegpt`. Default 0.01. */
  dampening: number({ optional: true, min: 0 }),
  /** Linear layers to leave as they are: module paths or dotted endings of them. Default: none. */
  skip: listOf(text({}), { default: [] }),
});
/** Options of `CausalLM.prune`: a sparsity (a part of each row; with `sparsegpt` of 128 columns), or a pattern such as `[2, 4]`. */
export type PruneOptions = Omit<Given<typeof pruneOptions>, 'sparsity' | 'pattern'> & Sparsity;

/**
 * A model's linear layers with a part of their weights zero, block after block: the inputs that weights are chosen by are those of
 * the model pruned before. Embeddings, norms and the output layer stay. Storage stays float32.
 *
 * @throws ModelQuantizationError, QuantizationError, OptionError
 */
export async function pruneWeights(network: Network, weights: Weights, given: PruneOptions): Promise<Weights> {
  const { method, rows, sparsity, pattern, dampening, skip } = pruneOptions.read(given as Given<typeof pruneOptions>);
  refuseQuantized(network);
  if (method !== 'magnitude' && !rows) {
    throw new ModelQuantizationError(`prune: method "${method}" looks at inputs: give rows of token ids.`);
  }
  if (method !== 'sparsegpt' && dampening !== undefined) {
    throw new ModelQuantizationError(
      `prune: dampening is of method "sparsegpt"; "${method}" inverts nothing. Leave it out.`,
    );
  }
  const how = { ...(sparsity !== undefined && { sparsity }), ...(pattern && { pattern }) } as Sparsity;
  const prune = (weight: FloatMatrix, inputs: LayerInputs | undefined): FloatMatrix => {
    if (!inputs) return wanda(weight, new Array<number>(weight.shape[1]!).fill(1), how);
    const { gram } = inputs;
    const damped = dampening === undefined ? how : { ...how, dampening };
    if (method === 'sparsegpt') return sparseGpt(weight, gram, damped).weight;
    return wanda(
      weight,
      Float64Array.from({ length: gram.size }, (_, j) => Math.sqrt(gram.data[j * (gram.size + 1)]!)),
      how,
    );
  };
  const result: Record<string, Tensor> = { ...weights };
  for (const modules of byBlock(modulesToQuantize(network.modules.values(), { method: 'int4', skip }))) {
    const inputs = method === 'magnitude' ? undefined : await inputStatistics(network, result, modules, rows!);
    for (const module of modules) {
      const pruned = prune(await matrixOf(module, result), inputs?.get(module.name));
      result[`${module.name}.weight`] = storedMatrix(module, pruned);
    }
  }
  return result;
}
