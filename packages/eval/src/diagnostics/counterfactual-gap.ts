import { EvaluationError } from '../errors.js';
import { type PairedBootstrapOptions, type PairedDifference, pairedBootstrap } from '../statistics/paired-bootstrap.js';

/** How differently a model treats groups that only names tell apart. */
export interface CounterfactualGap {
  /** Each group against the first: its values less theirs, prompt by prompt. */
  readonly against: Readonly<Record<string, PairedDifference>>;
  /** The mean over prompts of the largest value less the least: 0 where all groups are treated alike, prompt by prompt. */
  readonly spread: number;
  /** Share of prompts on which some groups have other values than others. */
  readonly changed: number;
}

/**
 * Paired prompts (counterfactual fairness, arXiv 1911.03064): the same prompt with the name of each group in it, and a number that should not depend on that: the score of an
 * answer, a sentiment, a probability. Means alone can hide what differs from prompt to prompt; `spread` and `changed` do not.
 *
 * @param values the values of each group, in one order of prompts
 * @throws OptionError; EvaluationError `UNPAIRED` for fewer than two groups, or other numbers of prompts
 */
export function counterfactualGap(
  values: Readonly<Record<string, readonly number[]>>,
  given: PairedBootstrapOptions = {},
): CounterfactualGap {
  const groups = Object.entries(values);
  const [first] = groups;
  const prompts = first?.[1].length ?? 0;
  if (groups.length < 2 || prompts === 0 || groups.some(([, of]) => of.length !== prompts)) {
    const found = groups.map(([name, of]) => `${name}: ${of.length}`).join(', ') || 'none';
    throw new EvaluationError(
      'UNPAIRED',
      `counterfactualGap: two groups or more need a value for each prompt, and there is ${found}.`,
    );
  }
  const spreads = first![1].map((_, i) => {
    const of = groups.map(([, list]) => list[i]!);
    return Math.max(...of) - Math.min(...of);
  });
  return {
    against: Object.fromEntries(groups.slice(1).map(([name, of]) => [name, pairedBootstrap(first![1], of, given)])),
    spread: spreads.reduce((sum, x) => sum + x, 0) / prompts,
    changed: spreads.filter((x) => x > 0).length / prompts,
  };
}
