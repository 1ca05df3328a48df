import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import type { OnnxTensorInfo } from '../../src/export/index.js';
import { bfloat16ToFloat32, leavesOf, type Tensor, type TypedArray } from '../../src/index.js';

type SessionOptions = InferenceSession.SessionOptions;

/** A tensor's elements as a runtime takes and gives them: bfloat16 as float32, everything else as it is stored. */
async function elementsOf(tensor: Tensor): Promise<TypedArray> {
  const data = await tensor.data();
  return tensor.dtype === 'bfloat16' ? bfloat16ToFloat32(data as Uint16Array) : data;
}

/** The elements of all tensors of a tree, in order. */
export const allElements = (tree: unknown): Promise<TypedArray[]> =>
  Promise.all(leavesOf(tree).map(({ tensor }) => elementsOf(tensor)));

/** Runs a model in a session of its own, with the tensors of `args` as its inputs, in order; gives its outputs in order. */
export async function runOnnx(
  model: Uint8Array | string,
  signature: { readonly inputs: readonly OnnxTensorInfo[]; readonly outputs: readonly OnnxTensorInfo[] },
  args: readonly unknown[],
  options: SessionOptions = {},
): Promise<TypedArray[]> {
  const settings: SessionOptions = { executionProviders: ['cpu'], logSeverityLevel: 3, ...options };
  const session = await (typeof model === 'string'
    ? InferenceSession.create(model, settings)
    : InferenceSession.create(model, settings));
  try {
    const given = await allElements(args);
    const feeds = signature.inputs.map(({ name, dtype, shape }, i) => [
      name,
      new OnnxTensor(dtype as 'float32', given[i] as Float32Array, shape),
    ]);
    const results = await session.run(Object.fromEntries(feeds));
    return signature.outputs.map(({ name }) => results[name]!.data as TypedArray);
  } finally {
    await session.release();
  }
}
