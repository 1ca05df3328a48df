import type { Tensor } from '@posttrain/core-tensor';
import {
  awqClip,
  awqScales,
  type Hessian,
  type QuantizedFormat,
  quantizedTensors,
  roundToGrid,
} from '@posttrain/core-tensor/quantization';
import { boolean, type Given, integer, options } from '@posttrain/interfaces';
import { byBlock, calibrationShape, inputStatistics, matrixOf, storedMatrix } from './calibration.js';
import { fold, foldGroups } from './folding.js';
import type { Weights } from './layers.js';
import type { Network } from './network.js';
import { formatOf, modulesToQuantize, refuseQuantized } from './quantize.js';
import { weightEntries } from './quantized-layer.js';

const awqOptions = options('quantize({ method: "awq" })', {
  ...calibrationShape,
  /** Elements of a row that share a grid: 16, 32, 64, 128 or 256. Default 128. */
  groupSize: integer({ default: 128 }),
  /** α of the scales is tried at 0, 1/steps … 1 − 1/steps. Default 20. */
  steps: integer({ default: 20, min: 1 }),
  /** Scales divide by the size of the weights too. Default true. */
  duoScaling: boolean({ default: true }),
  /** Look for smaller ranges, but for queries and keys. Default true. */
  clip: boolean({ default: true }),
});
/** Options of `CausalLM.quantize` with AWQ. */
export type AwqQuantizationOptions = Given<typeof awqOptions> & { readonly method: 'awq' };

/** As the authors: what goes into scores is cut for no gain. */
const isQueryOrKey = (name: string): boolean => /\.(q_proj|k_proj|qkv_proj)$/.test(name);

/**
 * AWQ (arXiv 2306.00978) of a model's linear layers to the codes of `int4`, block after block: columns with large inputs
 * are multiplied before they are rounded, and the norm or layer that computes these inputs is divided by as much, so that
 * the model stays the same until it is rounded. Then each group's range is cut to where its outputs err the least. The inputs are those of the
 * float model. Layers whose input nothing can be divided in (experts, an output projection with grouped queries, GPT-2's
 * `c_proj`) are cut and rounded only.
 *
 * @throws ModelQuantizationError, QuantizationError, OptionError
 */
export async function quantizeByAwq(
  network: Network,
  weights: Weights,
  given: AwqQuantizationOptions,
): Promise<{ readonly weights: Weights; readonly quantized: ReadonlyMap<string, QuantizedFormat> }> {
  const { rows, groupSize, skip, clip, method: _, ...how } = awqOptions.read(given);
  refuseQuantized(network);
  const float: Record<string, Tensor> = { ...weights };
  const parts: Record<string, Tensor> = {};
  const quantized = new Map<string, QuantizedFormat>();
  for (const modules of byBlock(modulesToQuantize(network.modules.values(), { method: 'int4', skip }))) {
    const inputs = await inputStatistics(network, float, modules, rows);
    const matrices = new Map(
      await Promise.all(modules.map(async (module) => [module.name, await matrixOf(module, float)] as const)),
    );
    const scalesOf = new Map<string, Float64Array>();
    for (const group of foldGroups(network, modules)) {
      const names = group.to.map(({ name }) => name);
      const read = names.map((name) => matrices.get(name)!);
      const { scales } = awqScales(read, inputs.get(names[0]!)!, { groupSize, ...how });
      await fold(network, { weights: float, matrices }, group, scales);
      for (const name of names) scalesOf.set(name, scales);
    }
    for (const module of modules) {
      const matrix = matrices.get(module.name)!;
      const gram = dividedBy(inputs.get(module.name)!.gram, scalesOf.get(module.name));
      const cut = clip && !isQueryOrKey(module.name) ? awqClip(matrix, gram, { groupSize }) : matrix;
      const codes = roundToGrid(cut, { groupSize }).toInt4();
      quantized.set(module.name, formatOf(codes));
      for (const [part, value] of weightEntries(`${module.name}.weight`, quantizedTensors(codes))) parts[part] = value;
      float[`${module.name}.weight`] = storedMatrix(module, matrix);
    }
  }
  return { weights: { ...float, ...parts }, quantized };
}

/** Σ x xᵀ of inputs that are divided by scales. */
function dividedBy({ size, data }: Hessian, scales: Float64Array | undefined): Hessian {
  if (!scales) return { size, data };
  return { size, data: data.map((value, i) => value / (scales[Math.floor(i / size)]! * scales[i % size]!)) };
}
