import type { TokenLogProb } from '@posttrain/interfaces';
import { ContractError } from './errors.js';
import type { SearchNode } from './search-node.js';

const missing = (where: string, what: string): ContractError =>
  new ContractError(
    `${where}: needs ${what}, which the generator did not give. Local models and endpoints with logprobs give them.`,
  );

/** log p of each drawn token of a node; tokens that were put there are left out. */
export function logProbsOf(where: string, { completion }: SearchNode): number[] {
  if (!completion?.logProbs) throw missing(where, 'the log-probability of each token (logProbs)');
  const { logProbs, forced = [] } = completion;
  return logProbs.filter((_, i) => !forced.includes(i));
}

/** The likeliest tokens in the place of each token of a node. */
export function topLogProbsOf(where: string, { completion }: SearchNode): readonly (readonly TokenLogProb[])[] {
  if (!completion?.topLogProbs) throw missing(where, 'the likeliest tokens of each place (topLogProbs)');
  return completion.topLogProbs;
}

/** A statistic of each token of a node. */
export function statisticOf(where: string, { completion }: SearchNode, name: string): readonly number[] {
  const values = completion?.statistics?.[name];
  if (!values) throw missing(where, `the statistic ${name} of each token (statistics: ['${name}'])`);
  return values;
}
