import { PosttrainError } from '@posttrain/interfaces';
import { adafactor } from './adafactor.js';
import { adam } from './adam.js';
import { adamW } from './adamw.js';
import { adamW8bit, lion8bit } from './eight-bit-states.js';
import { galore } from './galore.js';
import { lion } from './lion.js';
import { muon } from './muon.js';
import type { Optimizer, ParameterFilter } from './optimizer.js';
import { sgd } from './sgd.js';

/** Optimizers by their Hugging Face `optim` names, where they have one. */
export const optimizers = {
  adamw_torch: adamW,
  adamw_8bit: adamW8bit,
  adam,
  adafactor,
  galore_adamw: galore,
  lion_32bit: lion,
  lion_8bit: lion8bit,
  muon,
  sgd,
} as const;

/** An optimizer by its Hugging Face name. */
export type OptimizerName = keyof typeof optimizers;

/** A name with the options of that optimizer. */
export type OptimizerSpec<Name extends OptimizerName = OptimizerName> = {
  [One in Name]: { readonly name: One } & NonNullable<Parameters<(typeof optimizers)[One]>[0]>;
}[Name];

/** A name, a name with options, or an optimizer of your own. */
export type OptimizerChoice = OptimizerName | OptimizerSpec | Optimizer<object>;

/** Whether a value is an optimizer. */
export const isOptimizer = (choice: OptimizerChoice): choice is Optimizer<object> =>
  typeof choice === 'object' && 'update' in choice;

/**
 * The optimizer that is meant. `weightDecay` and `decays` are for a name or a spec that does not give its own.
 *
 * @throws PosttrainError for a name or an option that does not exist
 */
export function optimizerOf(
  choice: OptimizerChoice,
  { weightDecay, decays }: { readonly weightDecay?: number; readonly decays?: ParameterFilter } = {},
): Optimizer<object> {
  if (isOptimizer(choice)) return choice;
  const { name, ...options } = typeof choice === 'string' ? { name: choice } : choice;
  if (!Object.hasOwn(optimizers, name)) {
    throw new PosttrainError('OPTIMIZER', `no optimizer "${name}"; there are ${Object.keys(optimizers).join(', ')}`);
  }
  const make = optimizers[name] as (options: object) => Optimizer<object>;
  return make({ ...(weightDecay !== undefined && { weightDecay }), ...(decays && { decays }), ...options });
}
