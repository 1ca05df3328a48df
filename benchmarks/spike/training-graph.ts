import {
  type MatmulFlags,
  OnnxGraphBuilder,
} from '../../packages/core-tensor/src/engines/onnxruntime/graph-builder.js';
import { adapterShapes, isLoraTarget, type LoraTargets, shape, weightShapes } from './shape.js';

export interface TrainingGraphOptions {
  readonly targets: LoraTargets;
  /** Rows of the loss head computed at a time. */
  readonly headRows: number;
  /** Weights that become constants of the graph (packed once by the session) instead of inputs. */
  readonly constants?: ReadonlyMap<string, Float32Array>;
  /** Use Gemm with its C input for sums instead of FusedMatMul and Add. */
  readonly fuseAdds: boolean;
}

const { heads, keyValueHeads, headSize, batch, sequence, epsilon } = shape;
const rows = batch * sequence;
const group = heads / keyValueHeads;
const scale = 1 / Math.sqrt(headSize);
const loraScale = shape.loraAlpha / shape.loraRank;

/** cos and sin of position * theta^(-2i/headSize), each [length, headSize / 2]. */
export function ropeTables(length: number): { cos: Float32Array; sin: Float32Array } {
  const half = headSize / 2;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let p = 0; p < length; p++) {
    for (let i = 0; i < half; i++) {
      const angle = p * shape.ropeTheta ** (-i / half);
      cos[p * half + i] = Math.cos(angle);
      sin[p * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/**
 * Forward, loss and adapter gradients of one batch as one graph.
 * Inputs `tokens` [rows], `targets` [rows], `weights` [rows, 1] (weight of each token's loss, including 1/count), the
 * frozen weights and the adapters; outputs `loss` [] and `<adapter>.grad`.
 */
export function trainingGraph(options: TrainingGraphOptions) {
  const b = new OnnxGraphBuilder();
  const tokens = b.input('tokens', 'int64', [rows]);
  const targets = b.input('targets', 'int64', [rows]);
  const tokenWeights = b.input('weights', 'float32', [rows, 1]);
  for (const [name, dims] of weightShapes()) {
    const data = options.constants?.get(name);
    if (data) b.namedConstant(name, { type: 'float32', shape: dims, data });
    else b.input(name, 'float32', dims);
  }
  const adapters = adapterShapes(options.targets);
  for (const [name, dims] of adapters) b.input(name, 'float32', dims);
  const gradients = new Map<string, string>();

  const { cos, sin } = ropeTables(sequence);
  const cosTable = b.constant('float32', [sequence, headSize / 2], cos);
  const sinTable = b.constant('float32', [sequence, headSize / 2], sin);
  const negativeSin = b.constant(
    'float32',
    [sequence, headSize / 2],
    sin.map((x) => -x),
  );
  const positions = b.constant(
    'int64',
    [batch, sequence],
    Array.from({ length: rows }, (_, i) => i % sequence),
  );
  const mask = new Float32Array(group * sequence * sequence);
  for (let g = 0; g < group; g++)
    for (let i = 0; i < sequence; i++)
      mask.fill(Number.NEGATIVE_INFINITY, (g * sequence + i) * sequence + i + 1, (g * sequence + i + 1) * sequence);
  const causalMask = b.constant('float32', [1, 1, group * sequence, sequence], mask);
  const one = b.constant('float32', [], [1]);
  const last = b.ints([-1]);

  const gemm = (a: string, w: string, c: string, { transA = false, transB = false, alpha = 1 }: MatmulFlags) =>
    b.op('Gemm', [a, w, c], { alpha: { float: alpha }, transA: Number(transA), transB: Number(transB) });
  const plus = (a: string, w: string, c: string, o: MatmulFlags = {}) =>
    options.fuseAdds ? gemm(a, w, c, o) : b.op('Add', [c, b.matmul(a, w, o)]);
  const rope = (x: string, width: number, sinName: string) =>
    b.reshape(
      b.op('RotaryEmbedding', [b.reshape(x, [batch, sequence, width]), positions, cosTable, sinName], {
        interleaved: 0,
        num_heads: width / headSize,
      }),
      [rows, width],
    );
  /** [rows, heads * d] to [batch, kv, heads/kv * sequence, d], and back. */
  const toHeads = (x: string, n: number) =>
    b.reshape(b.transpose(b.reshape(x, [batch, sequence, keyValueHeads, n, headSize]), [0, 2, 3, 1, 4]), [
      batch,
      keyValueHeads,
      n * sequence,
      headSize,
    ]);
  const fromHeads = (x: string, n: number) =>
    b.reshape(b.transpose(b.reshape(x, [batch, keyValueHeads, n, sequence, headSize]), [0, 3, 1, 2, 4]), [
      rows,
      keyValueHeads * n * headSize,
    ]);
  const norm = (x: string, weight: string) => {
    const [y, inverse] = b.ops('SimplifiedLayerNormalization', [x, weight], 2, {
      axis: -1,
      epsilon: { float: epsilon },
      stash_type: 1,
    });
    return { x, y: y!, inverse: inverse!, weight };
  };
  const normGradient = (saved: ReturnType<typeof norm>, dy: string, residual: string | undefined) => {
    // x' = inverse * (w dy) - x * inverse^2 * mean(dy * y)
    const mean = b.op('ReduceMean', [b.op('Mul', [dy, saved.y]), last]);
    const factor = b.op('Mul', [b.op('Mul', [saved.inverse, saved.inverse]), mean]);
    const direct = b.op('Mul', [b.op('Mul', [dy, saved.weight]), saved.inverse]);
    const dx = b.op('Sub', [direct, b.op('Mul', [saved.x, factor])]);
    return residual === undefined ? dx : b.op('Add', [residual, dx]);
  };

  const linear = (x: string, name: string, short: string, residual?: string) => {
    const weight = `${name}.weight`;
    const lora = isLoraTarget(short, options.targets);
    const base =
      residual === undefined ? b.matmul(x, weight, { transB: true }) : plus(x, weight, residual, { transB: true });
    if (!lora) return { y: base, x, name, lora, down: '' };
    const down = b.matmul(x, `${name}.lora_A.weight`, { transB: true });
    const y = plus(down, `${name}.lora_B.weight`, base, { transB: true, alpha: loraScale });
    return { y, x, name, lora, down };
  };
  /** Records the adapter's gradients; returns the gradient of the input, added to `accumulated`. */
  const linearGradient = (
    saved: ReturnType<typeof linear>,
    dy: string,
    accumulated: string | undefined,
    wantInput: boolean,
  ) => {
    let dx = accumulated;
    const add = (a: string, w: string) => {
      dx = dx === undefined ? b.matmul(a, w) : plus(a, w, dx);
    };
    if (saved.lora) {
      const up = `${saved.name}.lora_B.weight`;
      const down = `${saved.name}.lora_A.weight`;
      gradients.set(up, b.matmul(dy, saved.down, { transA: true, alpha: loraScale }));
      const dDown = b.matmul(dy, up, { alpha: loraScale });
      gradients.set(down, b.matmul(dDown, saved.x, { transA: true }));
      if (wantInput) add(dDown, down);
    }
    if (wantInput) add(dy, `${saved.name}.weight`);
    return dx;
  };

  const layerForward = (x: string, layer: number) => {
    const prefix = `model.layers.${layer}`;
    const inputNorm = norm(x, `${prefix}.input_layernorm.weight`);
    const lin = (short: string, value: string, residual?: string) =>
      linear(value, `${prefix}.${short}`, short, residual);
    const qLinear = lin('self_attn.q_proj', inputNorm.y);
    const kLinear = lin('self_attn.k_proj', inputNorm.y);
    const vLinear = lin('self_attn.v_proj', inputNorm.y);
    const q = toHeads(rope(qLinear.y, heads * headSize, sinTable), group);
    const k = toHeads(rope(kLinear.y, keyValueHeads * headSize, sinTable), 1);
    const v = toHeads(vLinear.y, 1);
    const scores = b.matmul(q, k, { transB: true, alpha: scale });
    const probabilities = b.op('Softmax', [b.op('Add', [scores, causalMask])], { axis: -1 });
    const mixed = b.matmul(probabilities, v);
    const oLinear = lin('self_attn.o_proj', fromHeads(mixed, group), x);
    const postNorm = norm(oLinear.y, `${prefix}.post_attention_layernorm.weight`);
    const gateLinear = lin('mlp.gate_proj', postNorm.y);
    const upLinear = lin('mlp.up_proj', postNorm.y);
    const sigmoid = b.op('Sigmoid', [gateLinear.y]);
    const silu = b.op('Mul', [gateLinear.y, sigmoid]);
    const downLinear = lin('mlp.down_proj', b.op('Mul', [silu, upLinear.y]), oLinear.y);
    const linearsOf = { qLinear, kLinear, vLinear, oLinear, gateLinear, upLinear, downLinear };
    return { ...linearsOf, inputNorm, postNorm, q, k, v, probabilities, mixed, sigmoid, silu, output: downLinear.y };
  };

  const layerBackward = (s: ReturnType<typeof layerForward>, dOutput: string, first: boolean) => {
    const dMlp = linearGradient(s.downLinear, dOutput, undefined, true)!;
    const dUp = b.op('Mul', [dMlp, s.silu]);
    // silu' = silu + sigmoid (1 - silu)
    const slope = b.op('Add', [s.silu, b.op('Mul', [s.sigmoid, b.op('Sub', [one, s.silu])])]);
    const dGate = b.op('Mul', [b.op('Mul', [dMlp, s.upLinear.y]), slope]);
    let dNorm = linearGradient(s.gateLinear, dGate, undefined, true);
    dNorm = linearGradient(s.upLinear, dUp, dNorm, true)!;
    const dAttention = normGradient(s.postNorm, dNorm, dOutput);
    const dMixed = toHeads(linearGradient(s.oLinear, dAttention, undefined, true)!, group);
    const dv = fromHeads(b.matmul(s.probabilities, dMixed, { transA: true }), 1);
    const dProbabilities = b.matmul(dMixed, s.v, { transB: true });
    const delta = b.op('ReduceSum', [b.op('Mul', [dMixed, s.mixed]), last]);
    const dScores = b.op('Mul', [s.probabilities, b.op('Sub', [dProbabilities, delta])]);
    const dq = rope(fromHeads(b.matmul(dScores, s.k, { alpha: scale }), group), heads * headSize, negativeSin);
    const wantKey = !first || s.kLinear.lora;
    const dk = wantKey
      ? rope(
          fromHeads(b.matmul(dScores, s.q, { transA: true, alpha: scale }), 1),
          keyValueHeads * headSize,
          negativeSin,
        )
      : '';
    let dInput = linearGradient(s.qLinear, dq, undefined, !first);
    if (wantKey) dInput = linearGradient(s.kLinear, dk, dInput, !first);
    dInput = linearGradient(s.vLinear, dv, dInput, !first);
    return first ? '' : normGradient(s.inputNorm, dInput!, dAttention);
  };

  let x = b.op('Gather', ['model.embed_tokens.weight', tokens], { axis: 0 });
  const saved = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    const forward = layerForward(x, layer);
    saved.push(forward);
    x = forward.output;
  }
  const finalNorm = norm(x, 'model.norm.weight');

  // d loss / d x of one row is weight * (softmax(logits) @ E - E[target]): no one-hot is needed.
  const losses: string[] = [];
  const dFinal: string[] = [];
  const embedding = 'model.embed_tokens.weight';
  for (let start = 0; start < rows; start += options.headRows) {
    const slice = (value: string) =>
      options.headRows === rows
        ? value
        : b.op('Slice', [value, b.ints([start]), b.ints([start + options.headRows]), b.ints([0])]);
    const target = slice(targets);
    const logProbs = b.op('LogSoftmax', [b.matmul(slice(finalNorm.y), embedding, { transB: true })], { axis: -1 });
    const chosen = b.op('GatherElements', [logProbs, b.reshape(target, [options.headRows, 1])], { axis: 1 });
    const weight = slice(tokenWeights);
    losses.push(b.op('Neg', [b.op('ReduceSum', [b.op('Mul', [chosen, weight])], { keepdims: 0 })]));
    const expected = b.matmul(b.op('Exp', [logProbs]), embedding);
    dFinal.push(b.op('Mul', [b.op('Sub', [expected, b.op('Gather', [embedding, target], { axis: 0 })]), weight]));
  }
  b.output(losses.length > 1 ? b.op('Sum', losses) : losses[0]!, 'loss', 'float32', []);
  let dx = normGradient(finalNorm, dFinal.length > 1 ? b.op('Concat', dFinal, { axis: 0 }) : dFinal[0]!, undefined);
  for (let layer = shape.layers - 1; layer >= 0; layer--) dx = layerBackward(saved[layer]!, dx, layer === 0);

  for (const [name, dims] of adapters) b.output(gradients.get(name)!, `${name}.grad`, 'float32', dims);
  return b.graph();
}

/** Multiplications and additions of one training step that are matrix products, counted from the shapes. */
export function trainingFlops(targets: LoraTargets): number {
  const perToken = [...weightShapes()].filter(([, d]) => d.length === 2).reduce((s, [, d]) => s + d[0]! * d[1]!, 0);
  const lora = [...adapterShapes(targets)].reduce((s, [, d]) => s + d[0]! * d[1]!, 0);
  const attention = shape.layers * heads * sequence * headSize * 2;
  // Forward 1, backward to the inputs 1 (and to the parameters 1, for the adapters); attention backward is twice its forward.
  return 2 * rows * (2 * perToken + 3 * lora + 3 * attention);
}
