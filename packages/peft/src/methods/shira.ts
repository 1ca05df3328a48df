import { scatterAdd, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, oneOf, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { denseChange } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { methodOptions, orNull, targetOptions } from '../adapters/method-options.js';
import { torchPermutation } from '../adapters/torch-permutation.js';

const shiraOptions = methodOptions('SHIRA', {
  ...targetOptions,
  /** Entries of a weight [out, in] that are trained: r (out + in), as many as LoRA of this rank has. Default 32. */
  r: integer({ default: 32, min: 1 }),
  /** Which entries: drawn at random. Default `random`. */
  maskType: oneOf(['random'], { default: 'random' }),
  /** torch's seed of the entries. Default: null, a torch generator without a seed, which draws the same every time. */
  randomSeed: orNull(integer({ min: 0 })),
  /** The entries start unchanged. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `shira`, complete, by PEFT's names in camel case. */
export type ShiraConfig = Read<typeof shiraOptions>;

/** The seed of a `torch.Generator` that nobody gives one. */
const TORCH_DEFAULT_SEED = 67_280_421_310_721;

const [WEIGHT, INDICES] = ['shira_weight', 'shira_indices'];

/**
 * SHiRA (arXiv 2406.13175): y = (W + S) x + b, where S [out, in] is zero but for n = r (out + in) entries, which are trained: a
 * sparse change of high rank. `shira_weight` [n] are the entries, and `shira_indices` int32 [2, n] their rows and columns, frozen
 * and in the file, by rows and then by columns.
 */
export const shira: LayerMethod<ShiraConfig> = {
  peftType: 'SHIRA',
  kinds: ['linear'],
  conv1d: false,
  options: shiraOptions,
  fileDefaults: {},

  check(config, targets) {
    for (const target of targets) {
      const { inputs, outputs } = linearShape(target);
      const count = countOf(target, config);
      if (count <= inputs * outputs) continue;
      throw new AdapterConfigError(
        `${target.name}: r ${config.r} are ${count} entries, and the weight has ${inputs * outputs}`,
      );
    }
  },

  parameters: countOf,

  init(target, config, key) {
    const shape = [countOf(target, config)];
    return { [WEIGHT]: config.initWeights ? zeros(shape) : normalWith(key, shape) };
  },

  async prepare(target, config) {
    const { inputs, outputs } = linearShape(target);
    const count = countOf(target, config);
    const places = torchPermutation(inputs * outputs, config.randomSeed ?? TORCH_DEFAULT_SEED, count).sort();
    const indices = new Int32Array(2 * count);
    places.forEach((place, i) => {
      indices[i] = Math.floor(place / inputs);
      indices[count + i] = place % inputs;
    });
    return { frozen: { [INDICES]: tensor(indices, [2, count], 'int32') } };
  },

  frozenInFile: () => true,

  async checkFrozen(target, { [INDICES]: indices }) {
    const { inputs, outputs } = linearShape(target);
    const values = await indices!.data();
    const wrong = values.findIndex((value, i) => value < 0 || value >= (2 * i < values.length ? outputs : inputs));
    if (wrong < 0) return;
    throw new AdapterConfigError(`${target.name}.${INDICES} has ${values[wrong]}, in a weight [${outputs}, ${inputs}]`);
  },

  ...denseChange<ShiraConfig>(deltaOf),
};

function countOf(target: ModuleInfo, { r }: ShiraConfig): number {
  const { inputs, outputs } = linearShape(target);
  return r * (inputs + outputs);
}

/** S [out, in]. */
function deltaOf(target: ModuleInfo, { [WEIGHT]: weight, [INDICES]: indices }: Named): Tensor {
  const { inputs, outputs } = linearShape(target);
  const [rows, columns] = [indices!.slice(0, 0, 1), indices!.slice(0, 1, 2)];
  const places = rows.mul(inputs).add(columns).squeeze(0);
  return scatterAdd(places, weight!, { axis: 0, size: inputs * outputs }).reshape([outputs, inputs]);
}
