import { dropout, zeros } from '@posttrain/core-tensor';
import { integer, number, type Read } from '@posttrain/interfaces';
import { applyLinear } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
import { denseOf, rowsOf, scaledRows, singularOf, toTensor, turned } from '../adapters/dense.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';

const loraXsOptions = methodOptions('LORA_XS', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Singular directions of a weight that R mixes. Default 16. */
  r: integer({ default: 16, min: 1 }),
  /** The update is multiplied by loraAlpha / r. Default 16. */
  loraAlpha: number({ default: 16 }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  loraDropout: number({ default: 0, min: 0, below: 1 }),
  /** R starts normal with this deviation. Default 1e-5. */
  deviation: number({ default: 1e-5, min: 0 }),
});
/** Options of `loraXs`, complete. */
export type LoraXsConfig = Read<typeof loraXsOptions>;

const [A, B, R] = ['lora_xs_A', 'lora_xs_B', 'lora_xs_R'] as const;

/**
 * LoRA-XS (arXiv 2405.17604): y = W x + b + α/r · B R A x, where of W = U S Vᵀ A = S_r V_rᵀ [r, in] and B = U_r [out, r] are frozen, and R [r, r] is all that is
 * trained: r² numbers a module, however wide. PEFT has no such method; the files are this package's own, with A and B, whose signs nothing
 * else tells.
 */
export const loraXs: LayerMethod<LoraXsConfig> = {
  peftType: 'LORA_XS',
  kinds: ['linear'],
  options: loraXsOptions,
  fileDefaults: {},

  check({ r }, targets) {
    for (const { name, inFeatures, outFeatures } of targets) {
      const few = Math.min(inFeatures, outFeatures);
      if (r > few) throw new AdapterConfigError(`${name}: the weight has ${few} singular values, not ${r}`);
    }
  },

  parameters(target, { r }) {
    const { inputs, outputs } = linearShape(target);
    return r * (inputs + outputs + r);
  },

  stochastic: ({ loraDropout }) => (loraDropout > 0 ? `loraDropout is ${loraDropout}` : undefined),

  init: (_, { r, deviation }, key) => ({ [R]: normalWith(key, [r, r], deviation) }),

  async prepare(target, { r }, { isLoaded }) {
    const { inputs, outputs, transposed } = linearShape(target);
    if (isLoaded) return { frozen: { [A]: zeros([r, inputs]), [B]: zeros([outputs, r]) } };
    const { u, values, v } = singularOf(await denseOf(target.weight, transposed));
    const a = scaledRows(rowsOf(v, 0, r), (i) => values[i]!);
    return { frozen: { [A]: toTensor(a), [B]: toTensor(turned(rowsOf(u, 0, r))) } };
  },

  frozenInFile: () => true,

  apply(x, layer, parameters, { r, loraAlpha, loraDropout }, dropoutKey) {
    const dropped = dropoutKey ? dropout(x, loraDropout, dropoutKey) : x;
    const narrow = applyLinear(dropped, parameters[A]!, undefined, false).mul(loraAlpha / r);
    const mixed = applyLinear(narrow, parameters[R]!, undefined, false);
    return layer.apply(x).add(applyLinear(mixed, parameters[B]!, undefined, false));
  },

  lowRank: (_, parameters, { r, loraAlpha }) => ({
    a: parameters[R]!.matmul(parameters[A]!),
    b: parameters[B]!,
    scale: loraAlpha / r,
  }),

  ...addedToWeight<LoraXsConfig>((_, parameters, { r, loraAlpha }) =>
    parameters[B]!.matmul(parameters[R]!)
      .matmul(parameters[A]!)
      .mul(loraAlpha / r),
  ),
};
