import { compile, type Engine, scalar, type Tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, number, options, PosttrainError } from '@posttrain/interfaces';
import { firstUnlike } from '../trainer/parameters.js';

const importanceOptions = options('addImportance', {
  /** γ, how much of what came before stays: 1 adds up, as MAS does; below 1 old tasks fade, as in online EWC. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
});
/** Options of `addImportance`. */
export type AddImportanceOptions = Given<typeof importanceOptions>;

/**
 * Importances over several tasks, by parameter: F̃ ← γ F̃ + F (online EWC, arXiv 1805.06370, eq. 9). With them there is one penalty
 * however many tasks there have been, about the parameters after the last one: `ewc({ anchors: await trainer.copyParameters(),
 * fisher: F̃, lambda })`.
 *
 * @param before F̃ after the tasks before; undefined before the first
 * @throws OptionError; PosttrainError IMPORTANCE where both are not of the same parameters
 */
export async function addImportance(
  before: Named | undefined,
  importance: Named,
  given: AddImportanceOptions & { readonly engine?: Engine } = {},
): Promise<Named> {
  const { engine, ...declared } = given;
  const { gamma } = importanceOptions.read(declared);
  if (!before) return importance;
  const wrong = firstUnlike(importance, before) ?? firstUnlike(before, importance);
  if (wrong !== undefined) {
    const problem = `importances before and now are of other parameters: ${wrong} is not in both, or not of one shape`;
    throw new PosttrainError('IMPORTANCE', `addImportance: ${problem}; give those of one model`);
  }
  const add = compile(
    (old: Named, now: Named, factor: Tensor): Named => mapNamed(now, (x, name) => old[name]!.mul(factor).add(x)),
    { name: 'addImportance', ...(engine && { engine }) },
  );
  return add(before, importance, scalar(gamma));
}
