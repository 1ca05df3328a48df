import { assertArgument } from '@posttrain/interfaces';

/** One solution round of a response: the text up to and with an answer. */
export interface SolutionRound {
  readonly tokens: number;
  readonly isCorrect: boolean;
  /** What tells its approach from others: a cluster, a summary. Default: its place, so that every round counts as new. */
  readonly approach?: string;
}

/** How much of a response's thinking did something. */
export interface Overthinking {
  /** Tokens up to the first correct answer, of all tokens; 0 when none is correct. 1: nothing after it. */
  readonly outcomeEfficiency: number;
  /** Tokens of rounds with a new approach, of all tokens. */
  readonly processEfficiency: number;
  /** Tokens after the first correct answer; 0 when none is correct. */
  readonly tokensAfterFirstCorrect: number;
}

/**
 * Metrics of overthinking (arXiv 2412.21187 §2.3), of one response of rounds 1 … M with T_m tokens, T = Σ T_m. Over a set of responses they are
 * averaged:
 *
 *   ξ_O = σ T̂ / T,          T̂ the tokens up to the first correct round, σ = 1 if there is one, else 0
 *   ξ_P = Σ_m τ_m T_m / T,   τ_m = 1 if no round before m has its approach, else 0
 *
 * @throws OptionError for no rounds, and for tokens that are no positive integer
 */
export function overthinking(rounds: readonly SolutionRound[]): Overthinking {
  const isGood = Array.isArray(rounds) && rounds.length > 0;
  assertArgument('overthinking', 'rounds', rounds, isGood, 'a list of at least one round');
  for (const { tokens } of rounds) {
    assertArgument(
      'overthinking',
      'tokens',
      tokens,
      Number.isSafeInteger(tokens) && tokens > 0,
      'a whole number above 0',
    );
  }
  const sum = (some: readonly SolutionRound[]): number => some.reduce((total, { tokens }) => total + tokens, 0);
  const total = sum(rounds);
  const first = rounds.findIndex(({ isCorrect }) => isCorrect);
  const needed = first < 0 ? 0 : sum(rounds.slice(0, first + 1));
  const seen = new Set<string>();
  const isNew = ({ approach }: SolutionRound): boolean => {
    if (approach === undefined) return true;
    const has = seen.has(approach);
    seen.add(approach);
    return !has;
  };
  return {
    outcomeEfficiency: needed / total,
    processEfficiency: sum(rounds.filter(isNew)) / total,
    tokensAfterFirstCorrect: first < 0 ? 0 : total - needed,
  };
}
