import type { Tensor } from '@posttrain/core-tensor';
import {
  type QuantizedFormat,
  quantizedTensors,
  quantizeInt8,
  smoothQuantScales,
} from '@posttrain/core-tensor/quantization';
import { type Given, number, options } from '@posttrain/interfaces';
import { byBlock, calibrationShape, inputStatistics, matrixOf, storedMatrix } from './calibration.js';
import { fold, foldGroups } from './folding.js';
import type { ModuleInfo, Weights } from './layers.js';
import type { Network } from './network.js';
import { formatOf, modulesToQuantize, refuseQuantized } from './quantize.js';
import { weightEntries } from './quantized-layer.js';

const smoothQuantOptions = options('quantize({ method: "smoothquant" })', {
  ...calibrationShape,
  /** α, the part of the difficulty that goes from the inputs to the weights. Default 0.5. */
  strength: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `CausalLM.quantize` with SmoothQuant. */
export type SmoothQuantQuantizationOptions = Given<typeof smoothQuantOptions> & { readonly method: 'smoothquant' };

/**
 * SmoothQuant (arXiv 2211.10438) of a model's linear layers: norms are divided, and the layers that read them multiplied, by what
 * makes large inputs smaller; then weights and inputs are 8-bit integers in every product, a scale a row of each, without
 * LLM.int8()'s outlier columns (`int8` with threshold 0). As in the paper only what reads a norm is made smooth.
 *
 * @throws ModelQuantizationError, QuantizationError, OptionError
 */
export async function quantizeBySmoothQuant(
  network: Network,
  weights: Weights,
  given: SmoothQuantQuantizationOptions,
): Promise<{ readonly weights: Weights; readonly quantized: ReadonlyMap<string, QuantizedFormat> }> {
  const { rows, skip, strength, method: _ } = smoothQuantOptions.read(given);
  refuseQuantized(network);
  const chosen = modulesToQuantize(network.modules.values(), { method: 'int8', skip });
  const result = await smoothed(network, weights, chosen, { rows, strength });
  const quantized = new Map<string, QuantizedFormat>();
  for (const module of chosen) {
    const codes = quantizeInt8(await matrixOf(module, result), { threshold: 0 });
    quantized.set(module.name, formatOf(codes));
    for (const [part, value] of weightEntries(`${module.name}.weight`, quantizedTensors(codes))) result[part] = value;
  }
  return { weights: result, quantized };
}

/** The same model in float32, with the norms divided and what reads them multiplied. */
export async function smoothed(
  network: Network,
  weights: Weights,
  modules: readonly ModuleInfo[],
  { rows, strength }: { readonly rows: readonly (readonly number[])[]; readonly strength: number },
): Promise<Record<string, Tensor>> {
  const result: Record<string, Tensor> = { ...weights };
  for (const block of byBlock(modules)) {
    const groups = foldGroups(network, block).filter(({ from }) => 'norm' in from);
    const read = groups.flatMap(({ to }) => to);
    const inputs = await inputStatistics(network, result, read, rows);
    const matrices = new Map(
      await Promise.all(read.map(async (module) => [module.name, await matrixOf(module, result)] as const)),
    );
    for (const group of groups) {
      const { maxAbs } = inputs.get(group.to[0]!.name)!;
      const scales = smoothQuantScales(
        group.to.map(({ name }) => matrices.get(name)!),
        maxAbs,
        { strength },
      );
      await fold(network, { weights: result, matrices }, group, scales);
    }
    for (const module of read) result[`${module.name}.weight`] = storedMatrix(module, matrices.get(module.name)!);
  }
  return result;
}
