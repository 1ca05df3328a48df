import type { Tensor } from '@posttrain/core-tensor';
import { gptq, type QuantizedFormat, quantizedTensors } from '@posttrain/core-tensor/quantization';
import { boolean, type Given, integer, number, options } from '@posttrain/interfaces';
import { byBlock, calibrationShape, inputStatistics, matrixOf, storedMatrix } from './calibration.js';
import type { Weights } from './layers.js';
import type { Network } from './network.js';
import { formatOf, modulesToQuantize, refuseQuantized } from './quantize.js';
import { weightEntries } from './quantized-layer.js';

const gptqOptions = options('quantize({ method: "gptq" })', {
  ...calibrationShape,
  /** Elements of a row that share a grid: 16, 32, 64, 128 or 256. Default 128. */
  groupSize: integer({ default: 128 }),
  /** Grids around a fixed zero; otherwise each has a zero point of its own. Default false. */
  symmetric: boolean({ default: false }),
  /** Round the columns with the largest inputs first. Default false. */
  actOrder: boolean({ default: false }),
  /** λ of H + λ·mean(diag H)·I. Default 0.01. */
  dampening: number({ default: 0.01, min: 0 }),
});
/** Options of `CausalLM.quantize` with GPTQ. */
export type GptqQuantizationOptions = Given<typeof gptqOptions> & { readonly method: 'gptq' };

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
  // What the codes stand for, which the blocks behind are to make up for.
  const float: Record<string, Tensor> = { ...weights };
  const result: Record<string, Tensor> = { ...weights };
  const quantized = new Map<string, QuantizedFormat>();
  for (const modules of byBlock(chosen)) {
    const inputs = await inputStatistics(network, float, modules, rows);
    for (const module of modules) {
      const name = `${module.name}.weight`;
      const found = gptq(await matrixOf(module, weights), inputs.get(module.name)!.gram, { ...how, groupSize });
      const codes = found.toInt4();
      quantized.set(module.name, formatOf(codes));
      for (const [part, value] of weightEntries(name, quantizedTensors(codes))) result[part] = value;
      float[name] = storedMatrix(module, found.weight);
    }
  }
  return { weights: result, quantized };
}
