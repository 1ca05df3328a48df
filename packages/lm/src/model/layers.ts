import type { Tensor } from '@posttrain/core-tensor';
import type { QuantizedFormat } from '@posttrain/core-tensor/quantization';

/**
 * Weights by their Hugging Face parameter names, such as `model.layers.0.self_attn.q_proj.weight`. Of a quantised weight
 * that is the codes; its other parts are beside it, such as `model.layers.0.self_attn.q_proj.weight.absmax`.
 */
export type Weights = Readonly<Record<string, Tensor>>;

/** A place of the model where a weight is applied, and so where an adapter can enter. */
export interface ModuleInfo {
  /** Module path as in Hugging Face, such as `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  /**
   * `head` is the output layer, which "all-linear" leaves out, as it does a `router`, the linear layer that chooses
   * experts. A router is never quantised, the output layer where that is asked for.
   */
  readonly kind: 'linear' | 'embedding' | 'head' | 'router';
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Index of the transformer block the module is in; undefined outside the blocks. */
  readonly layer: number | undefined;
  /** The weight is stored [in, out] (GPT-2's Conv1D) and not [out, in]. */
  readonly transposed: boolean;
  /** The weight is another module's (a tied head). */
  readonly tiedTo?: string;
  /** How the weight is stored when it is quantised. */
  readonly quantization?: QuantizedFormat;
}

/** A linear layer about to be applied: what an adapter sees. */
export interface LinearLayer extends ModuleInfo {
  /** Of a quantised layer the weight that its codes stand for: unpacked only where it is used. */
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  /** int32 [n]: which row of the batch each row of x is of, where x is [n, in] (in an expert) and not [b, s, in]. */
  readonly rows?: Tensor;
  /** The layer itself: x [..., in] → [..., out]. */
  apply(x: Tensor): Tensor;
}

/** An embedding about to be looked up: tokens int32 [...] → [..., width]. */
export interface EmbeddingLayer extends ModuleInfo {
  readonly weight: Tensor;
  apply(tokens: Tensor): Tensor;
}

/**
 * How adapters enter the model: every linear layer and embedding is applied through these. Left out, the layer is
 * applied as it is. A hook must be a pure function of tensors; it is traced.
 */
export interface LayerHooks {
  linear?(x: Tensor, layer: LinearLayer): Tensor;
  embedding?(tokens: Tensor, layer: EmbeddingLayer): Tensor;
  /**
   * The matrix [vocabulary, width] that turns hidden states into logits: logits = hidden · matrixᵀ. It is asked for
   * whole, because log-probabilities are computed from it in chunks.
   */
  headWeight?(layer: ModuleInfo & { readonly weight: Tensor }): Tensor;
}

/** x [..., in] times a weight stored [out, in], or [in, out] when `transposed`, plus bias. */
export function applyLinear(x: Tensor, weight: Tensor, bias: Tensor | undefined, transposed: boolean): Tensor {
  const width = x.shape.at(-1)!;
  // As one matrix product of rows: a batched product with a shared right side is slower on every engine.
  const rows = x.reshape([x.size / width, width]).matmul(weight, { transposeB: !transposed });
  const out = rows.reshape([...x.shape.slice(0, -1), rows.shape[1]!]);
  return bias ? out.add(bias) : out;
}
