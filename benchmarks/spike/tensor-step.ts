import {
  attention,
  attentionBias,
  iota,
  rmsNorm,
  rotary,
  silu,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { isLoraTarget, type LoraTargets, shape } from './shape.js';

const { heads, keyValueHeads, headSize, batch, sequence, hidden } = shape;
const loraScale = shape.loraAlpha / shape.loraRank;
type Weights = Readonly<Record<string, Tensor>>;

/** int32 tokens [batch, sequence] and labels [batch * sequence], and the weight of each position's loss. */
interface Batch {
  readonly tokens: Tensor;
  readonly labels: Tensor;
  readonly lossWeights: Tensor;
}

/** The training step of `training-graph.ts` written with tensors: to the loss and the gradient of the adapters. */
export function tensorStep(targets: LoraTargets) {
  return (adapters: Weights, weights: Weights, { tokens, labels, lossWeights }: Batch) =>
    valueAndGrad((adapters: Weights) => {
      const linear = (x: Tensor, prefix: string, name: string): Tensor => {
        const y = x.matmul(weights[`${prefix}.${name}.weight`]!, { transposeB: true });
        if (!isLoraTarget(name, targets)) return y;
        const down = x.matmul(adapters[`${prefix}.${name}.lora_A.weight`]!, { transposeB: true });
        return y.add(down.matmul(adapters[`${prefix}.${name}.lora_B.weight`]!, { transposeB: true }).mul(loraScale));
      };
      const angles = iota([1, sequence, headSize / 2], 1)
        .cast('float32')
        .mul(tensor(inverseFrequencies(), [headSize / 2]));
      const [cos, sin] = [angles.cos(), angles.sin()];
      const bias = attentionBias(iota([batch, sequence], 0));
      const split = (x: Tensor, n: number) => x.reshape([batch, sequence, n, headSize]).transpose([0, 2, 1, 3]);
      let x = weights['model.embed_tokens.weight']!.gather(tokens);
      for (let layer = 0; layer < shape.layers; layer++) {
        const prefix = `model.layers.${layer}`;
        const n = rmsNorm(x, weights[`${prefix}.input_layernorm.weight`]!, shape);
        const q = rotary(split(linear(n, prefix, 'self_attn.q_proj'), heads), cos, sin);
        const k = rotary(split(linear(n, prefix, 'self_attn.k_proj'), keyValueHeads), cos, sin);
        const v = split(linear(n, prefix, 'self_attn.v_proj'), keyValueHeads);
        const mixed = attention(q, k, v, bias, { scale: headSize ** -0.5 });
        const flat = mixed.transpose([0, 2, 1, 3]).reshape([batch, sequence, heads * headSize]);
        x = x.add(linear(flat, prefix, 'self_attn.o_proj'));
        const m = rmsNorm(x, weights[`${prefix}.post_attention_layernorm.weight`]!, shape);
        const gated = silu(linear(m, prefix, 'mlp.gate_proj')).mul(linear(m, prefix, 'mlp.up_proj'));
        x = x.add(linear(gated, prefix, 'mlp.down_proj'));
      }
      const last = rmsNorm(x, weights['model.norm.weight']!, shape).reshape([batch * sequence, hidden]);
      const { logProbs } = tokenLogProbs(last, weights['model.embed_tokens.weight']!, labels, { chunkSize: 8192 });
      return logProbs.mul(lossWeights).sum().neg();
    })(adapters);
}

function inverseFrequencies(): Float32Array {
  return Float32Array.from({ length: headSize / 2 }, (_, i) => shape.ropeTheta ** ((-2 * i) / headSize));
}
