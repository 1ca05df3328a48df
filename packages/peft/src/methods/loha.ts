import { type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, type Read } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { denseChange } from '../adapters/delta.js';
import { linearStart } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import {
  excludeOption,
  layerOptions,
  methodOptions,
  patternOption,
  targetOptions,
} from '../adapters/method-options.js';
import { patternValue } from '../adapters/targets.js';

/** What LoHa and LoKr have in common. */
export const lycorisOptions = {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Rank of the factors. Default 8. */
  r: integer({ default: 8, min: 1 }),
  /** The update is multiplied by alpha / r. Default 8. */
  alpha: number({ default: 8 }),
  /** Rank by module: a path, its dotted ending, or a regular expression of either; the first that matches. Default: none. */
  rankPattern: patternOption,
  /** `alpha` by module, written as `rankPattern`. Default: none. */
  alphaPattern: patternOption,
};

/** What PEFT writes of both beside. */
export const lycorisFileDefaults = { module_dropout: 0, rank_dropout: 0, use_effective_conv2d: false };

const lohaOptions = methodOptions('LOHA', {
  ...lycorisOptions,
  /** One factor starts at zero, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `loha`, complete, by PEFT's names in camel case. */
export type LohaConfig = Read<typeof lohaOptions>;

/** Rank and scaling of a module. */
export function lycorisRank(
  config: Pick<LohaConfig, 'r' | 'alpha' | 'rankPattern' | 'alphaPattern'>,
  module: string,
): { readonly r: number; readonly scaling: number } {
  const r = patternValue(config.rankPattern, 'rankPattern', module) ?? config.r;
  return { r, scaling: (patternValue(config.alphaPattern, 'alphaPattern', module) ?? config.alpha) / r };
}

/**
 * LoHa (arXiv 2108.06098): y = (W + s·(A₁ B₁) ⊙ (A₂ B₂)) x + b, ⊙ element by element, with A [out, r], B [r, in], s = α/r: of a rank
 * up to r².
 */
export const loha: LayerMethod<LohaConfig> = {
  peftType: 'LOHA',
  kinds: ['linear'],
  conv1d: false,
  options: lohaOptions,
  fileDefaults: lycorisFileDefaults,
  fanInFanOut: false,
  modulePatterns: ['rankPattern', 'alphaPattern'],

  parameters(target, config) {
    const { inputs, outputs } = linearShape(target);
    return 2 * lycorisRank(config, target.name).r * (inputs + outputs);
  },

  init(target, config, key) {
    const { inputs, outputs } = linearShape(target);
    const { r } = lycorisRank(config, target.name);
    return {
      hada_w1_a: linearStart(key.child(0), [outputs, r]),
      hada_w1_b: linearStart(key.child(1), [r, inputs]),
      hada_w2_a: linearStart(key.child(2), [outputs, r]),
      hada_w2_b: config.initWeights ? zeros([r, inputs]) : linearStart(key.child(3), [r, inputs]),
    };
  },

  ...denseChange<LohaConfig>(deltaOf),
};

function deltaOf({ name }: ModuleInfo, parameters: Named, config: LohaConfig): Tensor {
  const part = (i: 1 | 2) => parameters[`hada_w${i}_a`]!.matmul(parameters[`hada_w${i}_b`]!);
  return part(1).mul(part(2)).mul(lycorisRank(config, name).scaling);
}
