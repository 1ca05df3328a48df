import { concat, ones, softCap, type Tensor } from '@posttrain/core-tensor';
import { int4Inputs, quantizedMatmul } from '@posttrain/core-tensor/quantization';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import { floatWeight, isQuantized, quantizedWeightOf } from './quantized-layer.js';

/** The bias of an output layer that has one (Phi-1 to 2). */
export const HEAD_BIAS = 'lm_head.bias';

/** The output layer over some final hidden states: logits = cap(states · matrixᵀ). */
export interface OutputLayer {
  /**
   * The hidden states as the layer reads them: rounded where it is quantised with `activations: 'int8'`, multiplied by what multiplies
   * all logits of the family; with a bias, a 1 is behind each, and the bias is the last column of the matrix.
   */
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

/** What becomes of logits beside the product: see `ModelFamily.logitFactor` and `logitSoftCap`. */
export interface LogitChanges {
  readonly cap: number | undefined;
  readonly factor: number;
}

/** The output layer `module` over hidden states [..., width]. */
export function bindOutputLayer(
  module: ModuleInfo,
  weights: Weights,
  given: Tensor,
  hooks: LayerHooks,
  { cap, factor }: LogitChanges,
): OutputLayer {
  const hidden = factor === 1 ? given : given.mul(factor);
  const { matrix, isBase } = headMatrix(module, weights, hooks, hidden.dtype);
  const codes = isBase && isQuantized(module) ? quantizedWeightOf(module, weights) : undefined;
  const bias = weights[HEAD_BIAS]?.cast(hidden.dtype);
  const states = codes?.method === 'int4' ? int4Inputs(hidden, codes) : hidden;
  return {
    matrix: bias ? concat([matrix, bias.reshape([bias.size, 1])], 1) : matrix,
    isBase,
    states: bias
      ? concat([states, ones([...states.shape.slice(0, -1), 1], states.dtype)], states.shape.length - 1)
      : states,
    logits() {
      const product = codes ? quantizedMatmul(hidden, codes) : hidden.matmul(matrix, { transposeB: true });
      const logits = bias ? product.add(bias) : product;
      return cap === undefined ? logits : softCap(logits, cap);
    },
  };
}
