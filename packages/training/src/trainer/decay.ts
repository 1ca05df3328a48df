import type { ParameterFilter } from '@posttrain/core-tensor/optim';

/** The names that transformers' Trainer excludes, and those of GPT-2's LayerNorms, which it knows by their class. */
const EXCLUDED = /bias|layernorm|rmsnorm|(^|\.)norm($|\.)|_norm($|\.)|(^|\.)ln_\w+($|\.)/i;

/**
 * Which parameters decay in transformers' Trainer: all but norms and biases, told by name, whatever the optimizer. So DoRA's
 * magnitudes do, which have one axis.
 */
export const decaysInTransformers: ParameterFilter = Object.assign(
  function decaysInTransformers(name: string) {
    return !EXCLUDED.test(name);
  },
  // It is the same in every build of this package, whose texts differ.
  { settings: {} },
);
