import { iota, ones, type Tensor, tensor, uniform, where, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { identities, inverses } from '../adapters/inverse.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';

const boftOptions = methodOptions('BOFT', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'boft_only'], { default: 'none' }),
  /** Inputs of a block; 0: as many as `boftBlockNum` gives. Default 4. */
  boftBlockSize: integer({ default: 4, min: 0 }),
  /** Blocks of each module; 0: as many as `boftBlockSize` gives. One of the two is 0. Default 0. */
  boftBlockNum: integer({ default: 0, min: 0 }),
  /**
   * Factors m of the butterfly: 2 ^ (m − 1) blocks of inputs reach each other. With 1 it is a rotation by blocks, to which PEFT
   * falls back without CUDA. Default 1.
   */
  boftNButterflyFactor: integer({ default: 1, min: 1 }),
  /**
   * Share of the blocks of one factor, drawn in each pass, that are no rotation in training: ⌊share × blocks⌋ (multiplicative
   * dropout). Default 0.
   */
  boftDropout: number({ default: 0, min: 0, below: 1 }),
  /** Start with no rotation and no scale, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `boft`, complete, by PEFT's names in camel case. */
export type BoftConfig = Read<typeof boftOptions>;

/**
 * BOFT (arXiv 2311.06243): y = s ⊙ (W R x) + b with R = Rᵀ⁻¹ a product of m butterfly factors P_i diag(Q_i1, Q_i2, …) P_iᵀ. The
 * permutation P_i brings inputs together that are 2^i blocks apart, and Q = (I − S)(I + S)⁻¹ with S = (A − Aᵀ) / 2 is
 * Cayley's map. Trained are the A, `boft_R` [m, blocks, b, b], and `boft_s` [out, 1].
 */
export const boft: LayerMethod<BoftConfig> = {
  peftType: 'BOFT',
  kinds: ['linear'],
  conv1d: false,
  targetBiases: 'boft_only',
  options: boftOptions,
  fileDefaults: {},

  stochastic: ({ boftDropout }) => (boftDropout > 0 ? `boftDropout is ${boftDropout}` : undefined),

  check(config, targets) {
    const { boftBlockSize: size, boftBlockNum: number, boftNButterflyFactor: m } = config;
    if ((size === 0) === (number === 0)) {
      throw new AdapterConfigError(
        `boftBlockSize is ${size} and boftBlockNum ${number}: give one of them, and 0 for the other`,
      );
    }
    for (const target of targets) {
      const { inputs } = linearShape(target);
      const [blocks, width] = sizesOf(target, config);
      if (!Number.isInteger(blocks) || !Number.isInteger(width)) {
        throw new AdapterConfigError(`${target.name}: ${size || number} does not divide its ${inputs} inputs`);
      }
      if (m === 1 || (blocks % 2 ** (m - 1) === 0 && width % 2 === 0)) continue;
      throw new AdapterConfigError(
        `${target.name}: boftNButterflyFactor ${m} needs blocks of an even width, and a number of them that ${
          2 ** (m - 1)
        } divides; it has ${blocks} of ${width}`,
      );
    }
  },

  parameters(target, config) {
    const { inputs, outputs } = linearShape(target);
    return config.boftNButterflyFactor * inputs * sizesOf(target, config)[1] + outputs;
  },

  init(target, config, key) {
    const { outputs } = linearShape(target);
    const [blocks, size] = sizesOf(target, config);
    const shape = [config.boftNButterflyFactor, blocks, size, size];
    if (config.initWeights) return { [ROTATION]: zeros(shape), [SCALE]: ones([outputs, 1]) };
    const scale = normalWith(key.child(1), [outputs, 1], 0.1).add(1);
    return { [ROTATION]: normalWith(key.child(0), shape, 0.1), [SCALE]: scale };
  },

  apply(x, layer, parameters, { boftDropout }, dropoutKey) {
    const y = layer.apply(rotated(x, parameters, { still: stillBlocks(parameters, boftDropout, dropoutKey) }));
    const scale = parameters[SCALE]!.reshape([y.shape.at(-1)!]);
    return layer.bias ? y.sub(layer.bias).mul(scale).add(layer.bias) : y.mul(scale);
  },

  derive: (_, parameters) => ({ [TURNS]: turnsOf(parameters) }),

  merge: ({ weight, bias }, parameters) => ({
    weight: rotated(weight, parameters, { back: true }).mul(parameters[SCALE]!),
    bias,
  }),
  unmerge: ({ weight, bias }, parameters) => ({ weight: rotated(weight.div(parameters[SCALE]!), parameters), bias }),
};

const [ROTATION, SCALE] = ['boft_R', 'boft_s'];
const TURNS = 'turns';

/** The Q of all factors, float32 [m · blocks, b, b]. */
function turnsOf({ [ROTATION]: trained }: Named): Tensor {
  const [m, blocks, size] = trained!.shape as [number, number, number, number];
  return cayley(trained!.cast('float32').reshape([m * blocks, size, size]));
}

function sizesOf(
  target: ModuleInfo,
  { boftBlockSize: size, boftBlockNum: number }: BoftConfig,
): readonly [blocks: number, size: number] {
  const { inputs } = linearShape(target);
  return size === 0 ? [number, inputs / number] : [inputs / size, size];
}

/** Which blocks [factors · blocks, 1, 1] of a pass are no rotation: ⌊share × blocks⌋ of one factor. */
function stillBlocks({ [ROTATION]: trained }: Named, share: number, key: Tensor | undefined): Tensor | undefined {
  const [m, blocks] = trained!.shape as [number, number, number, number];
  const count = Math.floor(share * blocks);
  if (!key || count === 0) return undefined;
  const draws = uniform(key, [blocks + 1]);
  const places = draws.slice(0, 0, blocks);
  const rank = places.expandDims(0).less(places.expandDims(1)).cast('float32').sum(1);
  const factor = draws
    .slice(0, blocks, blocks + 1)
    .mul(m)
    .floor()
    .minimum(m - 1);
  const chosen = iota([m, 1], 0).cast('float32').equal(factor.expandDims(0));
  return chosen
    .cast('float32')
    .mul(rank.less(count).cast('float32').expandDims(0))
    .greater(0)
    .reshape([m * blocks, 1, 1]);
}

/** Rows x [..., in] · R, the last factor first, or · Rᵀ. */
function rotated(
  x: Tensor,
  parameters: Named,
  { back = false, still }: { readonly back?: boolean; readonly still?: Tensor | undefined } = {},
): Tensor {
  const [m, blocks, size] = parameters[ROTATION]!.shape as [number, number, number, number];
  const inputs = blocks * size;
  const turns = parameters[TURNS] ?? turnsOf(parameters);
  const all = (still ? where(still, identities(m * blocks, size, 'float32'), turns) : turns).cast(x.dtype);
  const rows = x.size / inputs;
  const turned = (y: Tensor, i: number): Tensor => {
    const factor = all.slice(0, i * blocks, (i + 1) * blocks);
    const apart = butterfly(inputs, size, i);
    // With m = 1, and at its first factor, a butterfly moves nothing.
    const near = i === 0 ? y : y.gather(inverse(apart), 1);
    const split = near.reshape([rows, blocks, size]).transpose([1, 0, 2]);
    const product = split.matmul(factor, { transposeB: back });
    const joined = product.transpose([1, 0, 2]).reshape([rows, inputs]);
    return i === 0 ? joined : joined.gather(indices(apart), 1);
  };
  const order = Array.from({ length: m }, (_, i) => (back ? i : m - 1 - i));
  return order.reduce(turned, x.reshape([rows, inputs])).reshape([...x.shape]);
}

/**
 * Where each input comes from: of every 2 ^ (i + 1) half blocks, those with an even number are put first. Halves of a block are
 * so exchanged with the block 2 ^ (i − 1) away.
 */
function butterfly(inputs: number, size: number, i: number): number[] {
  const half = size / 2;
  const halves = 2 ** (i + 1);
  const group = half * halves;
  return Array.from({ length: inputs }, (_, at) => {
    const [start, place] = [Math.floor(at / group) * group, at % group];
    const [to, inside] = [Math.floor(place / half), place % half];
    const from = to < halves / 2 ? 2 * to : 2 * (to - halves / 2) + 1;
    return start + from * half + inside;
  });
}

const indices = (places: readonly number[]): Tensor => tensor(Int32Array.from(places));

function inverse(places: readonly number[]): Tensor {
  const back = new Int32Array(places.length);
  places.forEach((from, to) => {
    back[from] = to;
  });
  return tensor(back);
}

/** Cayley's maps (I − S)(I + S)⁻¹ = 2 (I + S)⁻¹ − I of matrices A [n, b, b]. */
function cayley(a: Tensor): Tensor {
  const [n, b] = a.shape as [number, number, number];
  const skew = a.sub(a.transpose([0, 2, 1])).mul(0.5);
  const identity = identities(n, b, a.dtype);
  return inverses(identity.add(skew)).mul(2).sub(identity);
}
