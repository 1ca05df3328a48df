import { scalar } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { Loss } from '../loss/loss.js';

/** The numbers of a step that a loss names, as tensors. @throws PosttrainError LOSS_SCALARS for any that is not as it says */
export function scalarsOf(
  { name, scalars = [] }: Pick<Loss, 'name' | 'scalars'>,
  given: Readonly<Record<string, number>> = {},
): Named {
  const unknown = Object.keys(given).filter((key) => !scalars.includes(key));
  if (unknown.length > 0) {
    const wanted = scalars.length === 0 ? 'none' : scalars.join(', ');
    throw new PosttrainError(
      'LOSS_SCALARS',
      `the loss ${name} takes no scalar ${unknown.join(', ')}; those it takes: ${wanted}`,
    );
  }
  return Object.fromEntries(
    scalars.map((key) => {
      const value: unknown = given[key];
      if (typeof value === 'number' && Number.isFinite(value)) return [key, scalar(value)];
      const problem = `the loss ${name} needs the scalar ${key}, and it is ${showValue(value)}; give { scalars: { ${key}: ... } }`;
      throw new PosttrainError('LOSS_SCALARS', problem);
    }),
  );
}
