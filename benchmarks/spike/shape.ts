/** The shape of HuggingFaceTB/SmolLM2-135M and the sizes of the measured steps. */
export const shape = {
  layers: Number(process.env.SPIKE_LAYERS ?? 30),
  hidden: 576,
  heads: 9,
  keyValueHeads: 3,
  headSize: 64,
  intermediate: 1536,
  vocabulary: 49152,
  epsilon: 1e-5,
  ropeTheta: 100_000,
  loraRank: 16,
  loraAlpha: 32,
  batch: 4,
  sequence: 256,
} as const;

export type LoraTargets = 'qv' | 'all';

/** Linear layers of one decoder layer: name, output width, input width. */
export const linears: readonly (readonly [name: string, out: number, inside: number])[] = [
  ['self_attn.q_proj', shape.heads * shape.headSize, shape.hidden],
  ['self_attn.k_proj', shape.keyValueHeads * shape.headSize, shape.hidden],
  ['self_attn.v_proj', shape.keyValueHeads * shape.headSize, shape.hidden],
  ['self_attn.o_proj', shape.hidden, shape.heads * shape.headSize],
  ['mlp.gate_proj', shape.intermediate, shape.hidden],
  ['mlp.up_proj', shape.intermediate, shape.hidden],
  ['mlp.down_proj', shape.hidden, shape.intermediate],
];

export function isLoraTarget(name: string, targets: LoraTargets): boolean {
  return targets === 'all' || name === 'self_attn.q_proj' || name === 'self_attn.v_proj';
}

/** Names and shapes of the frozen weights, as in the Hugging Face checkpoint. */
export function weightShapes(): Map<string, number[]> {
  const out = new Map<string, number[]>();
  out.set('model.embed_tokens.weight', [shape.vocabulary, shape.hidden]);
  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    for (const [name, rows, columns] of linears) out.set(`${prefix}.${name}.weight`, [rows, columns]);
    out.set(`${prefix}.input_layernorm.weight`, [shape.hidden]);
    out.set(`${prefix}.post_attention_layernorm.weight`, [shape.hidden]);
  }
  out.set('model.norm.weight', [shape.hidden]);
  return out;
}

/** Names and shapes of the adapter weights of every linear (a run uses those of its targets). */
export function adapterShapes(targets: LoraTargets): Map<string, number[]> {
  const out = new Map<string, number[]>();
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const [name, rows, columns] of linears) {
      if (!isLoraTarget(name, targets)) continue;
      out.set(`model.layers.${layer}.${name}.lora_A.weight`, [shape.loraRank, columns]);
      out.set(`model.layers.${layer}.${name}.lora_B.weight`, [rows, shape.loraRank]);
    }
  }
  return out;
}
