import { concat, ones, type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, oneOf, type Read } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { type AdapterTarget, type LayerMethod, linearShape, type MergedTarget } from '../adapters/layer-method.js';
import { methodOptions, targetOptions } from '../adapters/method-options.js';

const roadOptions = methodOptions('ROAD', {
  ...targetOptions,
  /** How many angles and scales a pair of outputs has: 1, 2 or 4. Default `road_1`. */
  variant: oneOf(['road_1', 'road_2', 'road_4'], { default: 'road_1' }),
  /** Outputs in a group, of which the i-th of the first half and of the second are a pair. Default 64. */
  groupSize: integer({ default: 64, min: 2 }),
  /** Start with no rotation, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `road`, complete, by PEFT's names in camel case. */
export type RoadConfig = Read<typeof roadOptions>;

const NUMBERS = { road_1: 0.5, road_2: 1, road_4: 2 } as const;

/**
 * RoAd (arXiv 2409.00119): outputs are rotated and scaled by pairs, y = R (W x + b) with (y₁, y₂) = (α cos θ x₁ − α sin θ x₂, α cos θ
 * x₂ + α sin θ x₁), and as many θ and α a pair as the variant says.
 */
export const road: LayerMethod<RoadConfig> = {
  peftType: 'ROAD',
  kinds: ['linear'],
  conv1d: false,
  options: roadOptions,
  fileDefaults: {},
  fanInFanOut: false,

  check({ groupSize }, targets) {
    for (const { name, outFeatures } of targets) {
      if (groupSize % 2 === 0 && outFeatures % groupSize === 0) continue;
      throw new AdapterConfigError(
        `${name}: ${outFeatures} outputs are no groups of an even groupSize, which is ${groupSize}`,
      );
    }
  },

  parameters: ({ outFeatures }, { variant }) => 2 * outFeatures * NUMBERS[variant],

  init({ outFeatures }, { variant, initWeights }, key) {
    const shape = [outFeatures * NUMBERS[variant]];
    if (initWeights) return { road_theta: zeros(shape), road_alpha: ones(shape) };
    return {
      road_theta: normalWith(key.child(0), shape, 0.5),
      road_alpha: normalWith(key.child(1), shape, 0.5).add(1),
    };
  },

  apply: (x, layer, parameters, config) => rotated(layer.apply(x), columnsOf(parameters, config), config),

  merge: (target, parameters, config) => turned(target, columnsOf(parameters, config), config),

  unmerge(merged, parameters, config) {
    const { first, second } = columnsOf(parameters, config);
    // Of each 2 × 2 matrix ((f₁, −s₁), (s₂, f₂)) the inverse ((f₂, s₁), (−s₂, f₁)) / (f₁ f₂ + s₁ s₂).
    const other = swappedHalves(first, config);
    const determinant = first.mul(other).add(second.mul(swappedHalves(second, config)));
    return turned(merged, { first: other.div(determinant), second: second.neg().div(determinant) }, config);
  },
};

interface Columns {
  /** [out]: what each output is multiplied by. */
  readonly first: Tensor;
  /** [out]: what its partner is. */
  readonly second: Tensor;
}

function columnsOf({ road_theta: theta, road_alpha: alpha }: Named, { variant, groupSize: g }: RoadConfig): Columns {
  if (variant === 'road_4') {
    const half = (x: Tensor, i: number) => {
      const out = x.size / 2;
      return x
        .reshape([out / g, 2, g])
        .slice(1, i, i + 1)
        .reshape([out]);
    };
    return { first: half(alpha!, 0).mul(half(theta!, 0).cos()), second: half(alpha!, 1).mul(half(theta!, 1).sin()) };
  }
  const each = (x: Tensor) => {
    if (variant === 'road_2') return x;
    const half = x.reshape([(2 * x.size) / g, 1, g / 2]);
    return concat([half, half], 1).reshape([2 * x.size]);
  };
  return { first: each(alpha!.mul(theta!.cos())), second: each(alpha!.mul(theta!.sin())) };
}

/** x [..., out] with the halves of each group in each other's place. */
function swappedHalves(x: Tensor, { groupSize: g }: RoadConfig, sign = 1): Tensor {
  const halves = x.reshape([x.size / g, 2, g / 2]);
  return concat([halves.slice(1, 1, 2).mul(sign), halves.slice(1, 0, 1)], 1).reshape([...x.shape]);
}

const rotated = (x: Tensor, { first, second }: Columns, config: RoadConfig): Tensor =>
  x.mul(first).add(swappedHalves(x, config, -1).mul(second));

/** R W and R b. */
function turned(target: AdapterTarget, columns: Columns, config: RoadConfig): MergedTarget {
  const { transposed } = linearShape(target);
  const weight = rotated(transposed ? target.weight : target.weight.transpose(), columns, config);
  const bias = target.bias && rotated(target.bias, columns, config);
  return { weight: transposed ? weight : weight.transpose(), bias };
}
