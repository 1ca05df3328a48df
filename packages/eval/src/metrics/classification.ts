import { EvaluationError } from '../errors.js';

/**
 * Matthews' correlation of predicted and actual classes, of two or more (Gorodkin's R_K, 2004): 1 where all are right, 0 for what is no better than chance, whatever the
 * share of classes. 0 where predictions or classes are all alike, as scikit-learn has it.
 *
 * @throws EvaluationError `UNPAIRED`
 */
export function matthewsCorrelation(
  predicted: readonly (string | number | boolean)[],
  actual: readonly (string | number | boolean)[],
): number {
  const n = predicted.length;
  if (n === 0 || actual.length !== n) {
    throw new EvaluationError(
      'UNPAIRED',
      `matthewsCorrelation needs a class for each prediction, but got ${n} and ${actual.length}.`,
    );
  }
  const countsOf = (classes: readonly (string | number | boolean)[]) => {
    const counts = new Map<string | number | boolean, number>();
    for (const name of classes) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  };
  const [said, real] = [countsOf(predicted), countsOf(actual)];
  const right = predicted.filter((name, i) => name === actual[i]).length;
  const squares = (counts: ReadonlyMap<unknown, number>) => [...counts.values()].reduce((sum, x) => sum + x * x, 0);
  const cross = [...said].reduce((sum, [name, count]) => sum + count * (real.get(name) ?? 0), 0);
  const spread = (n * n - squares(said)) * (n * n - squares(real));
  return spread === 0 ? 0 : (right * n - cross) / Math.sqrt(spread);
}

/**
 * Whether a dialogue state is right in every slot, 1 or 0 (MultiWOZ, arXiv 1810.00278): its mean over turns is joint goal accuracy. Values are compared without case and
 * white space around them; slots that are empty, `none` or `not mentioned` are as if they were not there.
 *
 * @param gold of a slot a value, or several of which any is right
 */
export function jointGoal(
  predicted: Readonly<Record<string, string>>,
  gold: Readonly<Record<string, string | readonly string[]>>,
): 0 | 1 {
  const plain = (value: string) => value.trim().toLowerCase();
  const isEmpty = (value: string) => ['', 'none', 'not mentioned'].includes(plain(value));
  const said = new Map(Object.entries(predicted).filter(([, value]) => !isEmpty(value)));
  const wanted = Object.entries(gold)
    .map(([slot, values]) => [slot, [values].flat().filter((value) => !isEmpty(value))] as const)
    .filter(([, values]) => values.length > 0);
  const isRight =
    said.size === wanted.length &&
    wanted.every(([slot, values]) => said.has(slot) && values.some((value) => plain(value) === plain(said.get(slot)!)));
  return isRight ? 1 : 0;
}

/**
 * D4RL's normalised score of a policy's return (arXiv 2004.07219): 100 (return − random) / (expert − random), 0 for a random policy and 100 for an expert.
 *
 * @param references the returns of both on the environment
 * @throws EvaluationError `BAD_REFERENCE` where they are the same
 */
export function d4rlScore(reached: number, references: { readonly random: number; readonly expert: number }): number {
  const { random, expert } = references;
  if (!Number.isFinite(expert - random) || expert === random) {
    throw new EvaluationError(
      'BAD_REFERENCE',
      `d4rlScore: random is ${random} and expert ${expert}; they must be two numbers.`,
    );
  }
  return (100 * (reached - random)) / (expert - random);
}
