import type { ModelConfig } from './cases.js';

/** One linear layer: x [n, input] → [n, output]. */
interface Linear {
  readonly input: number;
  readonly output: number;
  /** Reads the output of the embedding, through a norm: in the first layer, q, k and v. */
  readonly readsEmbedding: boolean;
}

function linearsOf(config: ModelConfig): Linear[] {
  const { hidden_size: width, intermediate_size: inner } = config;
  const keys = (width / config.num_attention_heads) * config.num_key_value_heads;
  return Array.from({ length: config.num_hidden_layers }, (_, layer) => [
    ...[width, keys, keys].map((output) => ({ input: width, output, readsEmbedding: layer === 0 })),
    { input: width, output: width, readsEmbedding: false },
    ...[inner, inner].map((output) => ({ input: width, output, readsEmbedding: false })),
    { input: inner, output: width, readsEmbedding: false },
  ]).flat();
}

/**
 * Floating-point operations (a multiplication and an addition are two) that the matrix products of one training step need:
 * forward, loss and backward of `rows` rows of `tokens` tokens, every token but a row's first predicted. What an
 * implementation does beyond that counts as nothing: products above the diagonal of a causal attention, products made
 * again for the gradient, everything elementwise, the optimizer.
 *
 * - A linear layer [n, i] × [i, o] takes 2·n·i·o forward. Backward takes as much for the gradient of its input, and as much
 *   again for that of its weight.
 * - `rank` given (LoRA on every linear layer but the head): weights of the base get no gradient. The adapter's two products
 *   are linear layers [n, i] × [i, r] and [n, r] × [r, o], both with both gradients.
 * - With LoRA nothing trained lies below q, k and v of the first layer, so the gradients of their input (through the weight
 *   and through A) are not needed. In full training the embedding lies there, and they are.
 * - Causal attention: of tokens² pairs a row, tokens·(tokens + 1)/2; q·k and p·v take 2·width each for a pair forward, and
 *   twice that backward (both factors of both products have a gradient).
 * - The head: rows·(tokens - 1) predictions; its weight (the embedding's) gets a gradient in full training only.
 */
export function stepFlops(
  config: ModelConfig,
  { rows, tokens, rank }: { readonly rows: number; readonly tokens: number; readonly rank?: number | undefined },
): number {
  const n = rows * tokens;
  const isFull = rank === undefined;
  const linears = linearsOf(config).map(({ input, output, readsEmbedding }) => {
    const base = 2 * n * input * output;
    const needsInputGradient = isFull || !readsEmbedding;
    const passes = 1 + (needsInputGradient ? 1 : 0) + (isFull ? 1 : 0);
    if (isFull) return passes * base;
    const down = 2 * n * input * rank;
    const up = 2 * n * rank * output;
    return passes * base + (needsInputGradient ? 3 : 2) * down + 3 * up;
  });
  const pairs = (rows * tokens * (tokens + 1)) / 2;
  const attention = 3 * config.num_hidden_layers * pairs * 4 * config.hidden_size;
  const head = (isFull ? 3 : 2) * 2 * rows * (tokens - 1) * config.hidden_size * config.vocab_size;
  return linears.reduce((sum, flops) => sum + flops, 0) + attention + head;
}
