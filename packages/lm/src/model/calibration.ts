import { iota, realize, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { FloatMatrix, Hessian, InputStatistics } from '@posttrain/core-tensor/quantization';
import { custom, listOf, text } from '@posttrain/interfaces';
import { assertTokenIds } from '../tokenizer/token-ids.js';
import { transposed } from '../transposed.js';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import type { Network } from './network.js';
import { ModelQuantizationError } from './quantize.js';

/** Whether a value is rows of token ids, none of them empty. */
export const isRows = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((row) => Array.isArray(row) && row.length > 0 && row.every((id) => Number.isSafeInteger(id) && id >= 0));

/** @throws ModelQuantizationError for a row longer than the context, TokenIdError for what is no id of the vocabulary: another tokenizer's */
export function checkRows({ config }: Pick<Network, 'config'>, rows: readonly (readonly number[])[]): void {
  const { vocabSize, maxPositionEmbeddings: longest } = config;
  rows.forEach((row, i) => {
    assertTokenIds(vocabSize, row, `calibration, rows[${i}]`);
    if (row.length <= longest) return;
    const problem = `rows[${i}] has ${row.length} tokens, and the model's context ${longest}; cut it`;
    throw new ModelQuantizationError(`calibration: ${problem}.`);
  });
}

/** What every method that looks at the model's inputs takes. */
export const calibrationShape = {
  method: text({}),
  /** Token ids of rows that the model is to be good at: calibration. 128 rows of 512 to 2,048 tokens in the papers. */
  rows: custom<readonly (readonly number[])[]>()('a list of lists of token ids', isRows, {}),
  /** Linear layers to leave as they are: module paths or dotted endings of them. Default: none. */
  skip: listOf(text({}), { default: [] }),
};

/** What is known of the inputs x [n, in] of a layer. */
export interface LayerInputs extends InputStatistics {
  /** H = 2/n · XᵀX. */
  readonly gram: Hessian;
  readonly meanAbs: Float64Array;
  readonly maxAbs: Float64Array;
}

/** Modules by the transformer block that they are in, in the order of the blocks. */
export function byBlock(modules: readonly ModuleInfo[]): readonly (readonly ModuleInfo[])[] {
  const blocks = new Map<number | undefined, ModuleInfo[]>();
  for (const module of modules) blocks.set(module.layer, [...(blocks.get(module.layer) ?? []), module]);
  return [...blocks.values()];
}

/** The weight of a linear layer as [out, in], whatever it is stored as. */
export async function matrixOf({ name, transposed: isTransposed }: ModuleInfo, weights: Weights): Promise<FloatMatrix> {
  const stored = weights[`${name}.weight`]!;
  const matrix = { data: Float32Array.from(await stored.data()), shape: stored.shape };
  return isTransposed ? transposed(matrix) : matrix;
}

/** The inverse of `matrixOf`. */
export function storedMatrix({ transposed: isTransposed }: ModuleInfo, matrix: FloatMatrix): Tensor {
  const { data, shape } = isTransposed ? transposed(matrix) : matrix;
  return tensor(data, shape);
}

/** What `inputStatistics` sums over the rows. */
interface Sums {
  readonly gram: Float64Array;
  readonly abs: Float64Array;
  readonly largest: Float64Array;
  count: number;
}

/**
 * The inputs of layers over all tokens of the rows; those of one length are a pass together.
 *
 * @throws ModelQuantizationError for a layer that no token reaches; what `checkRows` throws
 */
export async function inputStatistics(
  network: Network,
  weights: Weights,
  modules: readonly ModuleInfo[],
  rows: readonly (readonly number[])[],
): Promise<ReadonlyMap<string, LayerInputs>> {
  checkRows(network, rows);
  const names = new Set(modules.map(({ name }) => name));
  const sums = new Map<string, Sums>();
  for (const batch of batchesOf(rows)) {
    const seen = new Map<
      string,
      { readonly gram: Tensor; readonly abs: Tensor; readonly largest: Tensor; count: number }
    >();
    const hooks: LayerHooks = {
      linear(x, layer) {
        if (names.has(layer.name)) {
          const count = x.size / layer.inFeatures;
          const flat = x.reshape([count, layer.inFeatures]);
          const sizes = flat.abs();
          const gram = flat.matmul(flat, { transposeA: true });
          seen.set(layer.name, { gram, abs: sizes.sum(0), largest: sizes.max(0), count });
        }
        return layer.apply(x);
      },
    };
    const shape = [batch.length, batch[0]!.length];
    const tokens = tensor(Int32Array.from(batch.flat()), shape, 'int32');
    network.hidden(weights, { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') }, hooks);
    await realize(
      [...seen.values()].flatMap(({ gram, abs, largest }) => [gram, abs, largest]),
      { engine: network.engine },
    );
    for (const [name, { gram, abs, largest, count }] of seen) {
      const [ofGram, ofAbs, ofLargest] = await Promise.all([gram.data(), abs.data(), largest.data()]);
      const sum = sums.get(name) ?? emptySums(ofAbs.length);
      ofGram.forEach((value, i) => {
        sum.gram[i]! += Number(value);
      });
      ofAbs.forEach((value, i) => {
        sum.abs[i]! += Number(value);
        sum.largest[i] = Math.max(sum.largest[i]!, Number(ofLargest[i]));
      });
      sum.count += count;
      sums.set(name, sum);
    }
  }
  return new Map(
    modules.map(({ name, inFeatures: size }) => {
      const sum = sums.get(name);
      if (!sum) throw new ModelQuantizationError(`quantization: no token of the rows reaches ${name}; give more rows.`);
      const gram = { size, data: sum.gram.map((x) => (2 / sum.count) * x) };
      return [name, { gram, meanAbs: sum.abs.map((x) => x / sum.count), maxAbs: sum.largest }];
    }),
  );
}

/** Most tokens of a pass of several rows. */
const TOKENS_A_PASS = 2048;

/** Neighbours of one length. */
function batchesOf(rows: readonly (readonly number[])[]): readonly (readonly (readonly number[])[])[] {
  const batches: (readonly number[])[][] = [];
  for (const row of rows) {
    const last = batches.at(-1);
    const isOfOne = last !== undefined && last[0]!.length === row.length;
    if (isOfOne && (last.length + 1) * row.length <= TOKENS_A_PASS) last.push(row);
    else batches.push([row]);
  }
  return batches;
}

const emptySums = (size: number): Sums => ({
  gram: new Float64Array(size * size),
  abs: new Float64Array(size),
  largest: new Float64Array(size),
  count: 0,
});
