import { number, options, type Read } from '@posttrain/interfaces';
import type { MergeMethod } from './merge-method.js';

const none = options('passthrough', {});
const modelOptions = options('passthrough', {
  /** What the tensor is multiplied by. Default 1. */
  scale: number({ default: 1 }),
});

/** Takes tensors as they are: with `slices`, layers of one or more models on top of each other (SOLAR's depth up-scaling, arXiv 2312.15166). */
export const passthrough: MergeMethod<object, Read<typeof modelOptions>> = {
  name: 'passthrough',
  base: 'none',
  models: { min: 1, max: 1 },
  options: none,
  modelOptions,
  merge: (_tensor, _options, each) => {
    const { scale } = each[0]!;
    return ({ models }) => (scale === 1 ? models[0]! : models[0]!.map((x) => x * scale));
  },
};
