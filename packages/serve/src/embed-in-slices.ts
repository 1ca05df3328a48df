import type { LocalEmbedder } from '@posttrain/lm';

/** Token budget of a slice, padding included: it bounds the latency that embedding adds to running completions. */
const MOST_TOKENS = 1024;

/**
 * Embeddings of sequences of token ids, a slice of similar lengths at a time, so that the engine serves other requests
 * between two of them. A sequence of more tokens is a slice of its own.
 */
export async function embedInSlices(
  embedder: Pick<LocalEmbedder, 'embedTokens'>,
  sequences: readonly (readonly number[])[],
): Promise<Float32Array[]> {
  const vectors = new Array<Float32Array>(sequences.length);
  const order = [...sequences.keys()].sort((a, b) => sequences[b]!.length - sequences[a]!.length);
  while (order.length > 0) {
    const longest = Math.max(1, sequences[order[0]!]!.length);
    const slice = order.splice(0, Math.max(1, Math.floor(MOST_TOKENS / longest)));
    const found = await embedder.embedTokens(slice.map((i) => sequences[i]!));
    for (const [j, i] of slice.entries()) vectors[i] = found[j]!;
  }
  return vectors;
}
