import type { Usage } from '@posttrain/interfaces';
import type { GenerateProblem, MetricResult, ProblemBase } from './log/format.js';

/** A share of completions above which the reader of a result is warned. */
const WARN_ABOVE = 0.05;

const MOST_NAMED = 5;

/** What stands between the numbers of completions and their meaning: answers not found, completions cut off. */
export function completionWarnings(problems: readonly GenerateProblem[]): string[] {
  const completions = problems.flatMap((problem) => problem.completions);
  const warnings: string[] = [];
  const share = (count: number): string =>
    `${count} of ${completions.length} completions (${((100 * count) / completions.length).toFixed(1)} %)`;
  for (const grader of Object.keys(completions[0]?.grades ?? {})) {
    const unparsed = completions.filter(({ grades }) => grades[grader]?.answer === null).length;
    const unscored = completions.filter(({ grades }) => grades[grader]?.score === null).length;
    if (unparsed > WARN_ABOVE * completions.length) warnings.push(`${grader} found no answer in ${share(unparsed)}.`);
    if (unscored > 0) warnings.push(`${grader} could not score ${share(unscored)}.`);
  }
  const cut = completions.filter(({ finishReason }) => finishReason === 'length').length;
  if (cut > WARN_ABOVE * completions.length) warnings.push(`${share(cut)} ran into the token limit.`);
  return warnings;
}

/** Problems that a metric leaves out. */
export function leftOutWarnings(problems: readonly ProblemBase[], metrics: readonly MetricResult[]): string[] {
  const warnings: string[] = [];
  for (const { metric, grader, count, values } of metrics) {
    if (count < problems.length) {
      const left = problems.flatMap(({ id }, i) => (values[i] === null ? [`"${id}"`] : []));
      const named = `${left.slice(0, MOST_NAMED).join(', ')}${left.length > MOST_NAMED ? ', …' : ''}`;
      warnings.push(
        `${metric}${grader ? ` (${grader})` : ''} leaves out ${left.length} of ${problems.length} problems` +
          `${count > 0 ? `: ${named}` : ''}.`,
      );
    }
  }
  return warnings;
}

/** Tokens summed; `undefined` where there are no counts. */
export function addUsage(usages: readonly Usage[]): Usage | undefined {
  if (usages.length === 0) return undefined;
  return {
    promptTokens: usages.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
    completionTokens: usages.reduce((sum, { completionTokens }) => sum + completionTokens, 0),
  };
}
