/** The sizes of a decoder that decide what it costs. */
export interface DecoderShape {
  readonly layers: number;
  /** Width of the residual stream. */
  readonly width: number;
  readonly heads: number;
  /** Key/value heads. */
  readonly keyValueHeads: number;
  readonly headWidth: number;
  readonly mlpWidth: number;
  /** Three matrices in the MLP (SwiGLU) or two. */
  readonly gatedMlp: boolean;
  readonly vocabulary: number;
  /** Whether the head is the embedding. */
  readonly tiedHead: boolean;
}

/** Entries of the matrices that every token is multiplied with, the head included. */
function matrixParameters({ layers, width, heads, keyValueHeads, headWidth, mlpWidth, ...rest }: DecoderShape): number {
  const attention = width * headWidth * (2 * heads + 2 * keyValueHeads);
  const mlp = (rest.gatedMlp ? 3 : 2) * width * mlpWidth;
  return layers * (attention + mlp) + rest.vocabulary * width;
}

/** Parameters of a decoder with RMSNorm and without biases (Llama, Mistral, SmolLM). */
export function decoderParameters(shape: DecoderShape): number {
  const norms = (2 * shape.layers + 1) * shape.width;
  return matrixParameters(shape) + norms + (shape.tiedHead ? 0 : shape.vocabulary * shape.width);
}

/**
 * Floating-point operations of the matrix products of one forward pass over `rows` rows of `length` tokens: 2 a multiply
 * and add; attention scores over the whole row (`causal: false`, what most kernels compute) or only what causality leaves.
 * Everything else (norms, activations, softmax) is left out: it grows with the width, not its square.
 */
export function decoderForwardFlops(
  shape: DecoderShape,
  { rows = 1, length, causal = false }: { readonly rows?: number; readonly length: number; readonly causal?: boolean },
): number {
  const pairs = causal ? (length * (length + 1)) / 2 : length * length;
  const scores = 2 * 2 * shape.heads * shape.headWidth * pairs * shape.layers;
  return rows * (2 * matrixParameters(shape) * length + scores);
}

/** The rule of thumb C = 6 N D for training N parameters on D tokens (arXiv 2001.08361). */
export const approximateTrainingFlops = (parameters: number, tokens: number): number => 6 * parameters * tokens;

/** The rule of thumb C = 2 N for every token generated or read (arXiv 2001.08361). */
export const approximateInferenceFlops = (parameters: number, tokens: number): number => 2 * parameters * tokens;
