import { equalAnswer } from '@posttrain/interfaces/answers';
import { type AnswerGroup, majorityOfK } from '@posttrain/interfaces/estimators';
import { EvaluationError } from '../errors.js';
import type { SampleMetric } from '../task.js';
import { assertSubsetSize, metricOfGraded, type ScoredProblem } from './samples.js';

/**
 * maj@k: the expected score of the most frequent answer (`answersEqual` says which are one) among k of the problem's n samples, over all C(n, k) subsets,
 * exactly (self-consistency, Wang et al. 2022, arXiv 2203.11171). Ties are shared evenly among the tied answers, which is
 * what "first seen wins" gives on average over the order of drawing. Samples without an answer abstain; when all k do,
 * the score is 0. A problem with fewer than k graded samples has no value.
 */
export function majorityAtK(k: number): SampleMetric {
  return majorityVoteAt(k, 'refuse');
}

/**
 * `majorityAtK`; `mixed` says what becomes of an answer that is scored one way in one sample and another way in another:
 * refused, as for a checker of answers it is a mistake, or counted with its mean score.
 */
export function majorityVoteAt(k: number, mixed: 'refuse' | 'mean'): SampleMetric {
  assertSubsetSize('majorityAtK', k);
  return metricOfGraded(`maj@${k}`, k, (problem) => {
    const { groups, abstentions } = answerGroups(problem, mixed === 'mean');
    return majorityOfK(groups, abstentions, [k])[0]!;
  });
}

function answerGroups({ id, samples }: ScoredProblem, mayMix: boolean): { groups: AnswerGroup[]; abstentions: number } {
  const groups = new Map<string, AnswerGroup>();
  let abstentions = 0;
  for (const { answer, score } of samples) {
    if (answer === undefined) {
      throw new EvaluationError(
        'NO_ANSWER',
        `maj@k counts answers, but the grader of problem "${id}" names none: use one that does, such as exactMatch.`,
      );
    }
    if (answer === null) {
      abstentions++;
      continue;
    }
    const seen = groups.get(answer);
    if (!mayMix && seen && score !== seen.value) {
      throw new EvaluationError(
        'INCONSISTENT_GRADES',
        `Problem "${id}": the answer ${JSON.stringify(answer)} has scores ${seen.value} and ${score}; maj@k needs one score per answer.`,
      );
    }
    const { size, value } = seen ?? { size: 0, value: 0 };
    groups.set(answer, { value: value + (score - value) / (size + 1), size: size + 1 });
  }
  return { groups: merged(groups, mayMix), abstentions };
}

/** Groups of answers that are spelled otherwise and are the same, unless a grader said otherwise of them. */
function merged(groups: ReadonlyMap<string, AnswerGroup>, mayMix: boolean): AnswerGroup[] {
  const result = new Map<string, AnswerGroup>();
  for (const [answer, group] of groups) {
    const alike = [...result].filter(([, { value }]) => mayMix || value === group.value).map(([other]) => other);
    const same = equalAnswer(alike, answer);
    const { size, value } = (same !== undefined && result.get(same)) || { size: 0, value: 0 };
    const total = size + group.size;
    result.set(same ?? answer, { size: total, value: (value * size + group.value * group.size) / total });
  }
  return [...result.values()];
}
