import { type Key, tensor, zeros } from '@posttrain/core-tensor';
import { integer, number, type Read } from '@posttrain/interfaces';
import { applyLinear } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';

const curLoraOptions = methodOptions('CURLORA', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Columns and rows of a weight that are taken. Default 8. */
  r: integer({ default: 8, min: 1 }),
  /** What the update is multiplied with. Default 1. */
  alpha: number({ default: 1 }),
});
/** Options of `curLora`, complete. */
export type CurLoraConfig = Read<typeof curLoraOptions>;

const [C, U, R] = ['curlora_C', 'curlora_U', 'curlora_R'] as const;

/** Keeps a column of zeros from being all that is drawn. */
const LEAST = 1e-3;

/**
 * CURLoRA (arXiv 2408.14572): y = W x + b + α C U R x, with C [out, r] columns and R [r, in] rows of W, frozen, and U [r, r] trained from
 * zero. They are drawn with replacement, the more likely the smaller their part p of ‖W‖² is: in proportion to 1 / (p + 0.001), so that
 * the update stays where the weight has said least. PEFT has no such method; the files are this package's own, with C and R.
 */
export const curLora: LayerMethod<CurLoraConfig> = {
  peftType: 'CURLORA',
  kinds: ['linear'],
  options: curLoraOptions,
  fileDefaults: {},

  parameters(target, { r }) {
    const { inputs, outputs } = linearShape(target);
    return r * (inputs + outputs + r);
  },

  init: (_, { r }) => ({ [U]: zeros([r, r]) }),

  async prepare(target, { r }, { key, isLoaded }) {
    const { inputs, outputs, transposed } = linearShape(target);
    if (isLoaded) return { frozen: { [C]: zeros([outputs, r]), [R]: zeros([r, inputs]) } };
    const weight = transposed ? target.weight.transpose() : target.weight;
    const squares = weight.square();
    const drawn = async (axis: number, own: Key) => drawnBelow(await squares.sum(1 - axis).data(), r, own);
    const [columns, rows] = [await drawn(1, key.child(0)), await drawn(0, key.child(1))];
    return { frozen: { [C]: weight.gather(tensor(columns), 1), [R]: weight.gather(tensor(rows), 0) } };
  },

  frozenInFile: () => true,

  apply(x, layer, parameters, { alpha }) {
    const narrow = applyLinear(x, parameters[R]!, undefined, false);
    const mixed = applyLinear(narrow, parameters[U]!, undefined, false).mul(alpha);
    return layer.apply(x).add(applyLinear(mixed, parameters[C]!, undefined, false));
  },

  lowRank: (_, parameters, { alpha }) => ({
    a: parameters[U]!.matmul(parameters[R]!),
    b: parameters[C]!,
    scale: alpha,
  }),

  ...addedToWeight<CurLoraConfig>((_, parameters, { alpha }) =>
    parameters[C]!.matmul(parameters[U]!).matmul(parameters[R]!).mul(alpha),
  ),
};

/** `count` indices with probabilities in proportion to 1 / (part of the sum + 0.001). */
function drawnBelow(sizes: ArrayLike<number>, count: number, key: Key): Int32Array {
  const values = Array.from(sizes);
  const total = values.reduce((sum, value) => sum + value, 0) || 1;
  let sum = 0;
  const until = values.map((value) => {
    sum += 1 / (value / total + LEAST);
    return sum;
  });
  return Int32Array.from(key.uniformHost(count), (u) => until.findIndex((end) => u * sum < end));
}
