import { concat, iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, oneOf, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';

const oftOptions = methodOptions('OFT', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'oft_only'], { default: 'none' }),
  /** Blocks of each module; 0: as many as `oftBlockSize` gives. One of the two is 0. Default 0. */
  r: integer({ default: 0, min: 0 }),
  /** Inputs of a block; 0: as many as `r` gives. Default 32. */
  oftBlockSize: integer({ default: 32, min: 0 }),
  /** One rotation for all blocks of a module. Default false. */
  blockShare: boolean({ default: false }),
  /** Compute Cayley's map by a Neumann series. Not supported otherwise: false is refused. Default true. */
  useCayleyNeumann: boolean({ default: true }),
  /** Terms of the series. Default 5. */
  numCayleyNeumannTerms: integer({ default: 5, min: 1 }),
  /** Start with no rotation, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `oft`, complete, by PEFT's names in camel case. */
export type OftConfig = Read<typeof oftOptions>;

/**
 * OFT (arXiv 2306.07280) as OFTv2 (arXiv 2506.19847) has it: inputs are rotated by blocks, y = W R x + b with R made of Cayley's maps of skew
 * matrices Q, (I + Q)(I − Q)⁻¹ ≈ I + 2Q + 2Q² + … , whose upper triangles are `oft_R.weight` [blocks, b (b − 1) / 2].
 */
export const oft: LayerMethod<OftConfig> = {
  peftType: 'OFT',
  kinds: ['linear'],
  conv1d: false,
  targetBiases: 'oft_only',
  options: oftOptions,
  fileDefaults: { coft: false, eps: 6e-5, module_dropout: 0 },

  check({ r, oftBlockSize, useCayleyNeumann }, targets) {
    if (!useCayleyNeumann) throw new AdapterConfigError('useCayleyNeumann false is not supported');
    if ((r === 0) === (oftBlockSize === 0)) {
      throw new AdapterConfigError(`r is ${r} and oftBlockSize ${oftBlockSize}: give one of them, and 0 for the other`);
    }
    for (const target of targets) {
      const { inputs } = linearShape(target);
      if (inputs % (r || oftBlockSize) === 0) continue;
      throw new AdapterConfigError(`${target.name}: ${r || oftBlockSize} does not divide its ${inputs} inputs`);
    }
  },

  parameters: (target, config) => shapeOf(target, config).reduce((a, b) => a * b),

  init(target, config, key) {
    const shape = shapeOf(target, config);
    return { [WEIGHT]: config.initWeights ? zeros([...shape]) : normalWith(key, shape, 0.1) };
  },

  apply: (x, layer, parameters, config) => layer.apply(rotated(x, layer, parameters, config)),

  derive: (target, parameters, config) => ({ [ROTATIONS]: rotationsOf(target, parameters, config) }),

  merge(target, parameters, config) {
    const { transposed } = linearShape(target);
    // y = W R x: each row of W is turned back.
    const rows = transposed ? target.weight.transpose() : target.weight;
    const weight = rotated(rows, target, parameters, config, true);
    return { weight: transposed ? weight.transpose() : weight, bias: target.bias };
  },
};

const WEIGHT = 'oft_R.weight';
const ROTATIONS = 'rotations';

function sizesOf(target: ModuleInfo, { r, oftBlockSize }: OftConfig): readonly [blocks: number, size: number] {
  const { inputs } = linearShape(target);
  return r === 0 ? [inputs / oftBlockSize, oftBlockSize] : [r, inputs / r];
}

function shapeOf(target: ModuleInfo, config: OftConfig): readonly [number, number] {
  const [blocks, size] = sizesOf(target, config);
  return [config.blockShare ? 1 : blocks, (size * (size - 1)) / 2];
}

/** x [..., in] · R, or · Rᵀ. */
function rotated(x: Tensor, target: ModuleInfo, parameters: Named, config: OftConfig, back = false): Tensor {
  const [blocks, size] = sizesOf(target, config);
  const one = parameters[ROTATIONS] ?? rotationsOf(target, parameters, config);
  const all = config.blockShare
    ? concat(
        Array.from({ length: blocks }, () => one),
        0,
      )
    : one;
  const rows = x.size / (blocks * size);
  const split = x.reshape([rows, blocks, size]).transpose([1, 0, 2]);
  const turned = split.matmul(back ? all.transpose([0, 2, 1]) : all);
  return turned.transpose([1, 0, 2]).reshape([...x.shape]);
}

const rotationsOf = (target: ModuleInfo, { [WEIGHT]: triangles }: Named, config: OftConfig): Tensor =>
  rotations(triangles!, sizesOf(target, config)[1], config.numCayleyNeumannTerms);

/** [blocks, b, b] of upper triangles: PEFT's truncated series, whose last term counts once. */
function rotations(triangles: Tensor, size: number, terms: number): Tensor {
  const [blocks] = triangles.shape as [number, number];
  const places = new Int32Array(size * size);
  const signs = new Float32Array(size * size);
  let next = 0;
  for (let i = 0; i < size; i++) {
    for (let j = i + 1; j < size; j++, next++) {
      places[i * size + j] = places[j * size + i] = next;
      [signs[i * size + j], signs[j * size + i]] = [1, -1];
    }
  }
  const skew = triangles
    .gather(tensor(places, [size * size], 'int32'), 1)
    .mul(tensor(signs))
    .reshape([blocks, size, size]);
  const identity = iota([size, size], 0)
    .equal(iota([size, size], 1))
    .cast(triangles.dtype)
    .expandDims(0)
    .broadcastTo([blocks, size, size]);
  if (terms === 1) return identity;
  let sum = identity.add(skew.mul(2));
  if (terms === 2) return sum;
  let power = skew.matmul(skew);
  sum = sum.add(power.mul(2));
  for (let i = 3; i < terms - 1; i++) {
    power = power.matmul(skew);
    sum = sum.add(power.mul(2));
  }
  return sum.add(power.matmul(skew));
}
