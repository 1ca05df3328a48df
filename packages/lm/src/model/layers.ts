import type { Tensor } from '@posttrain/core-tensor';
import type { QuantizedFormat } from '@posttrain/core-tensor/quantization';

/**
 * Weights by their Hugging Face parameter names, such as `model.layers.0.self_attn.q_proj.weight`. Of a quantised weight
 * that is the codes; its other parts are beside it, such as `model.layers.0.self_attn.q_proj.weight.absmax`.
 */
export type Weights = Readonly<Record<string, Tensor>>;

/** What weights must be, for errors. */
export const WEIGHTS = 'tensors by their parameter names, such as those of another model';
export const isWeights = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

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

/** The pass that a layer is applied in, for hooks that tell rows or positions apart. */
export interface PassInfo {
  /** int32 [b, s]: the position of each token in its own sequence, virtual tokens counted. */
  readonly positions: Tensor;
  /** int32 [b, s] each: `Adapter.rowInputs` of the sequence that each token belongs to. */
  readonly inputs: Readonly<Record<string, Tensor>>;
}

/** A linear layer about to be applied: what an adapter sees. */
export interface LinearLayer extends ModuleInfo {
  /** Of a quantised layer the weight that its codes stand for: unpacked only where it is used. */
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  /** int32 [n]: which row of the batch each row of x is of, where x is [n, in] (in an expert) and not [b, s, in]. */
  readonly rows?: Tensor;
  /** Left out for the layers of a head, which are applied after the pass. */
  readonly pass?: PassInfo;
  /** The layer itself: x [..., in] → [..., out]. */
  apply(x: Tensor): Tensor;
}

/** An embedding about to be looked up: tokens int32 [...] → [..., width]. */
export interface EmbeddingLayer extends ModuleInfo {
  readonly weight: Tensor;
  readonly pass?: PassInfo;
  apply(tokens: Tensor): Tensor;
}

/** A normalisation of the model by its module path, such as `model.layers.0.input_layernorm`. */
export interface NormInfo {
  readonly name: string;
  readonly width: number;
  readonly hasBias: boolean;
}

/** The tensors of a normalisation. */
export interface NormTensors {
  /** [width]. */
  readonly weight: Tensor;
  readonly bias?: Tensor | undefined;
}

/** A normalisation about to be applied. */
export interface NormLayer extends NormInfo, NormTensors {
  readonly pass?: PassInfo;
  /** The normalisation itself, with tensors in the place of the model's own: x [..., width] → [..., width]. */
  apply(x: Tensor, own?: NormTensors): Tensor;
}

/** One of the two sublayers of a transformer block. */
export interface Sublayer {
  /** Index of the block. */
  readonly layer: number;
  readonly part: 'attention' | 'mlp';
  /** [b, s, width]: the residual stream that the sublayer has read, and that its output is added to. */
  readonly input: Tensor;
  readonly pass?: PassInfo;
}

/** Keys and values of one layer that every token sees before those of its own sequence. */
export interface KeyValuePrefix {
  /** [kv heads, v, head width], rotated already where the model rotates. */
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Virtual tokens of several kinds, of which every sequence has one. */
export interface VirtualTokenKinds {
  /** [kinds, v, width]. */
  readonly kinds: Tensor;
  /** The name among `Adapter.rowInputs` that says which of them a sequence has, from 0. */
  readonly kindOf: string;
}

/** A pass that the hooks of another depend on. */
export interface EarlierPass {
  /** Its own hooks; none for the base model. */
  readonly hooks: LayerHooks;
  /** The hooks of the pass after it, from its final hidden states [b, s, width]. */
  hooksAfter(hidden: Tensor): LayerHooks;
}

/**
 * How adapters enter the model: every linear layer, embedding, normalisation and sublayer is applied through these. Left
 * out, it is applied as it is. A hook must be a pure function of tensors; it is traced.
 *
 * `virtualTokens` or `prefix` stand before every sequence: they take positions 0 … v − 1, and every token sees them. They
 * depend on no token (virtual tokens may on a row input), so generation computes them once for each adapter and forks that
 * cache (prefix sharing). An adapter whose hooks have one of them says how many there are: `Adapter.virtualTokens`.
 */
export interface LayerHooks {
  linear?(x: Tensor, layer: LinearLayer): Tensor;
  embedding?(tokens: Tensor, layer: EmbeddingLayer): Tensor;
  norm?(x: Tensor, layer: NormLayer): Tensor;
  /** What is added to the residual stream in the place of the sublayer's output [b, s, width]. */
  sublayer?(output: Tensor, place: Sublayer): Tensor;
  /** Keys and values before every sequence, of each layer (prefix tuning, arXiv 2101.00190). Not with `virtualTokens`. */
  prefix?(layer: number): KeyValuePrefix;
  /**
   * Embeddings [v, width] before every sequence (prompt tuning, arXiv 2104.08691), or some of each kind, of which a row input
   * says which a sequence has. Each kind is computed once, in a pass as in generation.
   */
  readonly virtualTokens?: Tensor | VirtualTokenKinds;
  /**
   * A pass before this one, over the same tokens, which says what the hooks of this one are (X-LoRA, arXiv 2402.07148): the
   * others here do not count then, but for `headWeight`. In generation it has a cache of its own: `Adapter.earlierPass`.
   */
  readonly earlier?: EarlierPass;
  /**
   * What a training step adds to the loss of each row, [b], for how much its predictions weigh: of what these hooks have seen in the pass that they
   * were of, which must have been traced. `segments` int32 [b, s] is 0 on padding.
   */
  rowLoss?(pass: { readonly segments: Tensor }): Tensor;
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
