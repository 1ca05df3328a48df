import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import type { Kernel } from './kernel.js';

/** Applies an operation of your own: one tensor per output. */
export type Op<Config> = (inputs: readonly Tensor[], ...config: Config extends undefined ? [] : [Config]) => Tensor[];

/**
 * An operation of your own, from anywhere: a name, its output specs, at least one way to compute it (see `Kernel`) and,
 * unless it decomposes into primitives or needs none, a gradient.
 *
 * The name must have an owner, `owner/name`, so that no engine takes it for a kernel that it knows. Throws
 * `PosttrainError`: OP_DEFINITION where something is missing or is no function, UNKNOWN_OPTION for an unknown key.
 */
export function defineOp<Config = undefined>(op: Kernel<Config>): Op<Config> {
  assertKnownOptions('defineOp', op, ['name', 'infer', 'decompose', 'lower', 'vjp']);
  const { name, infer, decompose, lower = {}, vjp } = op;
  const fail = (why: string): never => {
    throw new PosttrainError('OP_DEFINITION', `defineOp ${JSON.stringify(name)}: ${why}`);
  };
  if (typeof name !== 'string' || !/^[\w.-]+\/[\w.-]+$/.test(name)) fail('the name must be written owner/name');
  if (typeof infer !== 'function') fail('infer must be a function from input specs to output specs');
  for (const [key, value] of Object.entries({ decompose, vjp })) {
    if (value !== undefined && typeof value !== 'function') fail(`${key} must be a function`);
  }
  for (const [engine, forward] of Object.entries(lower)) {
    if (typeof forward !== 'function') fail(`lower.${engine} must be a function`);
  }
  if (!decompose && Object.keys(lower).length === 0) {
    fail('nothing computes it: give lower.host (plain TypeScript, any engine), decompose, or lower.<engine>');
  }
  return (inputs, ...[config]) => applyKernel(op, inputs, config as Config);
}
