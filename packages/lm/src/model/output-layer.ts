import { softCap, type Tensor } from '@posttrain/core-tensor';
import { int4Inputs, quantizedMatmul } from '@posttrain/core-tensor/quantization';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import { floatWeight, isQuantized, quantizedWeightOf } from './quantized-layer.js';

/** The output layer over some final hidden states: logits = cap(states · matrixᵀ). */
export interface OutputLayer {
  /** The hidden states as the layer reads them: rounded where it is quantised with `activations: 'int8'`. */
  readonly states: Tensor;
  /** [vocabulary, width], in the type of the states; of a quantised layer what its codes stand for. */
  readonly matrix: Tensor;
  /** Whether the matrix is the model's own, which no hook has changed. */
  readonly isBase: boolean;
  /** Logits [..., vocabulary], capped. From the codes, without the matrix, where the layer is quantised and its own. */
  logits(): Tensor;
}

/** The matrix of the output layer as hooks leave it: see `Network.head`. */
export function headMatrix(
  module: ModuleInfo,
  weights: Weights,
  { headWeight }: LayerHooks,
  dtype: Tensor['dtype'] = 'float32',
): Pick<OutputLayer, 'matrix' | 'isBase'> {
  const own = floatWeight(module, weights);
  const weight = isQuantized(module) ? own.cast(dtype) : own;
  const matrix = headWeight ? headWeight({ ...module, weight }) : weight;
  return { matrix, isBase: matrix === weight };
}

/** The output layer `module` over hidden states [..., width]. */
export function bindOutputLayer(
  module: ModuleInfo,
  weights: Weights,
  hidden: Tensor,
  hooks: LayerHooks,
  cap: number | undefined,
): OutputLayer {
  const { matrix, isBase } = headMatrix(module, weights, hooks, hidden.dtype);
  const codes = isBase && isQuantized(module) ? quantizedWeightOf(module, weights) : undefined;
  return {
    matrix,
    isBase,
    states: codes?.method === 'int4' ? int4Inputs(hidden, codes) : hidden,
    logits() {
      const product = codes ? quantizedMatmul(hidden, codes) : hidden.matmul(matrix, { transposeB: true });
      return cap === undefined ? product : softCap(product, cap);
    },
  };
}
