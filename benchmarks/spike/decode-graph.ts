import { OnnxGraphBuilder } from '../../packages/core-tensor/src/engines/onnxruntime/graph-builder.js';
import { shape, weightShapes } from './shape.js';
import { ropeTables } from './training-graph.js';

const { hidden, heads, keyValueHeads, headSize, epsilon } = shape;

export interface DecodeGraphOptions {
  readonly constants?: ReadonlyMap<string, Float32Array>;
  /** Compute x Wᵀ as (W xᵀ)ᵀ, so that x is what gets repacked, not W. */
  readonly weightFirst?: boolean;
}

/**
 * One decode step: `tokens` [batch], `lengths` [batch] (keys already in the cache), `total` (largest length + 1), the
 * weights and `past_{key,value}.<layer>` [batch, kv, capacity, d] to `logits` [batch, vocabulary] and the same caches
 * with the new key and value written at each row's own position.
 */
export function decodeGraph(batch: number, capacity: number, { constants, weightFirst }: DecodeGraphOptions = {}) {
  const b = new OnnxGraphBuilder();
  const tokens = b.input('tokens', 'int64', [batch]);
  const lengths = b.input('lengths', 'int32', [batch]);
  const total = b.input('total', 'int32', []);
  for (const [name, dims] of weightShapes()) {
    const data = constants?.get(name);
    if (data) b.namedConstant(name, { type: 'float32', shape: dims, data });
    else b.input(name, 'float32', dims);
  }
  const cacheShape = [batch, keyValueHeads, capacity, headSize];
  const { cos, sin } = ropeTables(capacity);
  const cosTable = b.constant('float32', [capacity, headSize / 2], cos);
  const sinTable = b.constant('float32', [capacity, headSize / 2], sin);
  const norm = (x: string, weight: string) =>
    b.op('SimplifiedLayerNormalization', [x, weight], { axis: -1, epsilon: { float: epsilon }, stash_type: 1 });
  const linear = (x: string, name: string) =>
    weightFirst
      ? b.transpose(b.matmul(`${name}.weight`, x, { transB: true }), [1, 0])
      : b.matmul(x, `${name}.weight`, { transB: true });

  let x = b.op('Gather', ['model.embed_tokens.weight', tokens], { axis: 0 });
  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const pastKey = b.input(`past_key.${layer}`, 'float32', cacheShape);
    const pastValue = b.input(`past_value.${layer}`, 'float32', cacheShape);
    const normed = norm(x, `${prefix}.input_layernorm.weight`);
    const sequence = (value: string, width: number) => b.reshape(value, [batch, 1, width]);
    const query = sequence(linear(normed, `${prefix}.self_attn.q_proj`), heads * headSize);
    const key = sequence(linear(normed, `${prefix}.self_attn.k_proj`), keyValueHeads * headSize);
    const value = sequence(linear(normed, `${prefix}.self_attn.v_proj`), keyValueHeads * headSize);
    const [mixed, presentKey, presentValue] = b.ops(
      'GroupQueryAttention',
      [query, key, value, pastKey, pastValue, lengths, total, cosTable, sinTable],
      3,
      { num_heads: heads, kv_num_heads: keyValueHeads, do_rotary: 1 },
    );
    b.output(presentKey!, `present_key.${layer}`, 'float32', cacheShape);
    b.output(presentValue!, `present_value.${layer}`, 'float32', cacheShape);
    x = b.op('Add', [x, linear(b.reshape(mixed!, [batch, hidden]), `${prefix}.self_attn.o_proj`)]);
    const post = norm(x, `${prefix}.post_attention_layernorm.weight`);
    const gate = linear(post, `${prefix}.mlp.gate_proj`);
    const gated = b.op('Mul', [
      b.op('QuickGelu', [gate], { alpha: { float: 1 } }),
      linear(post, `${prefix}.mlp.up_proj`),
    ]);
    x = b.op('Add', [x, linear(gated, `${prefix}.mlp.down_proj`)]);
  }
  b.output(linear(norm(x, 'model.norm.weight'), 'model.embed_tokens'), 'logits', 'float32', [batch, shape.vocabulary]);
  return b.graph();
}
