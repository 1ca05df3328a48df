import { iota, realize, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { gptq, type Hessian, type QuantizedFormat, quantizedTensors } from '@posttrain/core-tensor/quantization';
import { boolean, custom, type Given, integer, listOf, number, options, text } from '@posttrain/interfaces';
import { transposed } from '../transposed.js';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import type { Network } from './network.js';
import { formatOf, ModelQuantizationError, modulesToQuantize, refuseQuantized } from './quantize.js';
import { weightEntries } from './quantized-layer.js';

const isRows = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((row) => Array.isArray(row) && row.length > 0 && row.every((id) => Number.isSafeInteger(id) && id >= 0));

const gptqOptions = options('quantize({ method: "gptq" })', {
  method: text({}),
  /** Token ids of rows that the model is to be good at: calibration. 128 rows of 2,048 tokens in the paper. */
  rows: custom<readonly (readonly number[])[]>()('a list of lists of token ids', isRows, {}),
  /** Elements of a row that share a grid: 16, 32, 64, 128 or 256. Default 128. */
  groupSize: integer({ default: 128 }),
  /** Grids around a fixed zero; otherwise each has a zero point of its own. Default false. */
  symmetric: boolean({ default: false }),
  /** Round the columns with the largest inputs first. Default false. */
  actOrder: boolean({ default: false }),
  /** λ of H + λ·mean(diag H)·I. Default 0.01. */
  dampening: number({ default: 0.01, min: 0 }),
  /** Linear layers to leave as they are: module paths or dotted endings of them. Default: none. */
  skip: listOf(text({}), { default: [] }),
});
/** Options of `CausalLM.quantize` with calibration. */
export type GptqQuantizationOptions = Given<typeof gptqOptions> & { readonly method: 'gptq' };

/** Whether options are those of GPTQ. */
export const isGptq = (given: { readonly method: string }): given is GptqQuantizationOptions => given.method === 'gptq';

/**
 * GPTQ (arXiv 2210.17323) of a model's linear layers to 4 bits, block after block: the Hessian of a layer is of the inputs that it
 * has once the blocks before are quantised. Embeddings, norms and the output layer stay. The codes are those of `int4`, in
 * which products, QLoRA and storage are as with rounding to the nearest. One pass of the rows a block.
 *
 * @throws ModelQuantizationError, QuantizationError, OptionError
 */
export async function quantizeByGptq(
  network: Network,
  weights: Weights,
  given: GptqQuantizationOptions,
): Promise<{ readonly weights: Weights; readonly quantized: ReadonlyMap<string, QuantizedFormat> }> {
  const { rows, groupSize, skip, method: _, ...how } = gptqOptions.read(given);
  refuseQuantized(network);
  const chosen = modulesToQuantize(network.modules.values(), { method: 'int4', skip });
  const blocks = new Map<number | undefined, ModuleInfo[]>();
  for (const module of chosen) blocks.set(module.layer, [...(blocks.get(module.layer) ?? []), module]);
  // What the codes stand for, which the blocks behind are to make up for.
  const float: Record<string, Tensor> = { ...weights };
  const result: Record<string, Tensor> = { ...weights };
  const quantized = new Map<string, QuantizedFormat>();
  for (const modules of blocks.values()) {
    const hessians = await hessiansOf(network, float, modules, rows);
    for (const module of modules) {
      const name = `${module.name}.weight`;
      const stored = weights[name]!;
      const matrix = { data: Float32Array.from(await stored.data()), shape: stored.shape };
      const weight = module.transposed ? transposed(matrix) : matrix;
      const found = gptq(weight, hessians.get(module.name)!, { ...how, groupSize });
      const codes = found.toInt4();
      quantized.set(module.name, formatOf(codes));
      for (const [part, value] of weightEntries(name, quantizedTensors(codes))) result[part] = value;
      const { data, shape } = module.transposed ? transposed(found.weight) : found.weight;
      float[name] = tensor(data, shape);
    }
  }
  return { weights: result, quantized };
}

/** H = 2/n · XᵀX of the inputs X of layers, over all tokens of the rows. */
async function hessiansOf(
  network: Network,
  weights: Weights,
  modules: readonly ModuleInfo[],
  rows: readonly (readonly number[])[],
): Promise<ReadonlyMap<string, Hessian>> {
  const names = new Set(modules.map(({ name }) => name));
  const sums = new Map<string, Float64Array>();
  const counts = new Map<string, number>();
  for (const row of rows) {
    const grams = new Map<string, Tensor>();
    const hooks: LayerHooks = {
      linear(x, layer) {
        if (names.has(layer.name)) {
          const count = x.size / layer.inFeatures;
          const flat = x.reshape([count, layer.inFeatures]);
          grams.set(layer.name, flat.matmul(flat, { transposeA: true }));
          counts.set(layer.name, (counts.get(layer.name) ?? 0) + count);
        }
        return layer.apply(x);
      },
    };
    const shape = [1, row.length];
    const tokens = tensor(Int32Array.from(row), shape, 'int32');
    network.hidden(weights, { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') }, hooks);
    await realize([...grams.values()], { engine: network.engine });
    for (const [name, gram] of grams) {
      const values = await gram.data();
      const sum = sums.get(name) ?? new Float64Array(values.length);
      for (let i = 0; i < sum.length; i++) sum[i]! += Number(values[i]);
      sums.set(name, sum);
    }
  }
  return new Map(
    modules.map(({ name, inFeatures: size }) => {
      const sum = sums.get(name);
      if (!sum) throw new ModelQuantizationError(`quantization: no token of the rows reaches ${name}; give more rows.`);
      const factor = 2 / counts.get(name)!;
      return [name, { size, data: sum.map((x) => factor * x) }];
    }),
  );
}
