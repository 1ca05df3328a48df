import { number, options, type Read } from '@posttrain/interfaces';
import { type MergeMethod, weightedSum } from './merge-method.js';

const slerpOptions = options('slerp', {
  /** Where between the base (0) and the model (1). */
  t: number({ min: 0, max: 1 }),
});
const none = options('slerp', {});

/** Where a sine is too small to divide by, a chord is as good as the arc. */
const NEARLY_PARALLEL = 0.9995;
const NEARLY_ZERO = 1e-8;

/**
 * Spherical linear interpolation of each tensor as one vector (Shoemake 1985): with Ω the angle between base a and model b,
 * sin((1−t)Ω)/sin Ω · a + sin(tΩ)/sin Ω · b; the straight (1−t)·a + t·b where |cos Ω| > 0.9995.
 */
export const slerp: MergeMethod<Read<typeof slerpOptions>, object> = {
  name: 'slerp',
  base: 'needed',
  models: { min: 1, max: 1 },
  options: slerpOptions,
  modelOptions: none,
  async merge(tensor, { t }) {
    let [aa, bb, ab] = [0, 0, 0];
    for await (const { base: a, models } of tensor.parts()) {
      const b = models[0]!;
      for (let i = 0; i < a.length; i++) {
        aa += a[i]! * a[i]!;
        bb += b[i]! * b[i]!;
        ab += a[i]! * b[i]!;
      }
    }
    const length = (square: number) => Math.max(Math.sqrt(square), NEARLY_ZERO);
    const cosine = ab / (length(aa) * length(bb));
    const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    const weights =
      Math.abs(cosine) > NEARLY_PARALLEL
        ? [1 - t, t]
        : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
    return ({ base, models }) => weightedSum([base, models[0]!], weights);
  },
};
