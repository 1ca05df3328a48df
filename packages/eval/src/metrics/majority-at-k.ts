import { EvaluationError } from '../errors.js';
import { hypergeometric } from '../statistics/combinatorics.js';
import type { GradedProblem, SampleMetric } from '../task.js';
import { assertSubsetSize } from './samples.js';

/**
 * maj@k: the expected score of the most frequent answer among k of the problem's n samples, over all C(n, k) subsets,
 * exactly (self-consistency, Wang et al. 2022, arXiv 2203.11171). Ties are shared evenly among the tied answers, which is
 * what "first seen wins" gives on average over the order of drawing. Samples without an answer abstain; when all k do,
 * the score is 0. A problem with fewer than k samples has no value.
 *
 * For the votes x of the answers, multivariate hypergeometric: maj@k = Σ_a score(a) · E[1{x_a ≥ x_b ∀b, x_a > 0} / #{b : x_b = x_a}].
 */
export function majorityAtK(k: number): SampleMetric {
  assertSubsetSize('majorityAtK', k);
  return {
    name: `maj@${k}`,
    value: (problem) => {
      if (problem.samples.length < k) return null;
      const { classes, abstentions } = answerClasses(problem);
      const sizes = classes.map((answer) => answer.size);
      let expected = 0;
      classes.forEach(({ score }, i) => {
        if (score !== 0) expected += score * chanceOfWinning(sizes, i, abstentions, k);
      });
      return expected;
    },
  };
}

interface AnswerClass {
  readonly score: number;
  readonly size: number;
}

function answerClasses(problem: GradedProblem): { classes: AnswerClass[]; abstentions: number } {
  const byAnswer = new Map<string, AnswerClass>();
  let abstentions = 0;
  for (const { answer, score } of problem.samples) {
    if (answer === undefined) {
      throw new EvaluationError(
        'NO_ANSWER',
        `maj@k counts answers, but the grader of problem "${problem.id}" names none: use one that does, such as exactMatch.`,
      );
    }
    if (answer === null) {
      abstentions++;
      continue;
    }
    const seen = byAnswer.get(answer);
    if (seen && score !== seen.score) {
      throw new EvaluationError(
        'INCONSISTENT_GRADES',
        `Problem "${problem.id}": the answer ${JSON.stringify(answer)} has scores ${seen.score} and ${score}; maj@k needs one score per answer.`,
      );
    }
    if (score === null) {
      throw new EvaluationError(
        'NO_SCORE',
        `Problem "${problem.id}": the answer ${JSON.stringify(answer)} has no score.`,
      );
    }
    byAnswer.set(answer, { score, size: (seen?.size ?? 0) + 1 });
  }
  return { classes: [...byAnswer.values()], abstentions };
}

/** The chance that class `winner` gets most votes when k of all samples are drawn, a tie of m counting 1/m. */
function chanceOfWinning(sizes: readonly number[], winner: number, abstentions: number, k: number): number {
  const total = sizes.reduce((sum, size) => sum + size, abstentions);
  const size = sizes[winner]!;
  const rivals = sizes.filter((_, i) => i !== winner);
  let chance = 0;
  for (let votes = 1; votes <= Math.min(size, k); votes++) {
    const chanceOfVotes = hypergeometric(votes, total, size, k);
    if (chanceOfVotes > 0) chance += chanceOfVotes * shareAgainst(rivals, abstentions, k - votes, votes);
  }
  return chance;
}

/**
 * E[1{no rival has more than `votes`} / (1 + rivals with exactly `votes`)] when `draws` samples come from the rivals and
 * the abstentions: one rival after the other, given how many draws the ones before it took.
 */
function shareAgainst(rivals: readonly number[], abstentions: number, draws: number, votes: number): number {
  let left = rivals.reduce((sum, size) => sum + size, abstentions);
  // chances[ties][used]: no rival so far is above `votes`, `ties` are at it, and together they took `used` draws.
  let chances = [new Float64Array(draws + 1)];
  chances[0]![0] = 1;
  for (const size of rivals) {
    const next = Array.from(
      { length: Math.min(chances.length + 1, Math.floor(draws / votes) + 1) },
      () => new Float64Array(draws + 1),
    );
    chances.forEach((row, ties) => {
      row.forEach((chance, used) => {
        if (chance === 0) return;
        for (let x = 0; x <= Math.min(size, votes, draws - used); x++) {
          const target = next[ties + (x === votes ? 1 : 0)];
          if (target) target[used + x]! += chance * hypergeometric(x, left, size, draws - used);
        }
      });
    });
    chances = next;
    left -= size;
  }
  let share = 0;
  chances.forEach((row, ties) => {
    for (const chance of row) share += chance / (1 + ties);
  });
  // What the rivals did not take, the abstentions have to; the last conditional law has seen to it.
  return share;
}
