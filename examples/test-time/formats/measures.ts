import { lengthError, type Trace } from '@posttrain/tts';
import { answerOf, type Problem, renderExpression } from '../../pretrain-tiny/problem.js';
import { parseExpression, polished } from './problems.js';

/** Numbers about one search, by name; a mean over searches is taken of each. */
export type Measures = Readonly<Record<string, number>>;

const SUM = /^\d+(?:[+-]\d+)+$/;
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Whether rewritten problems have the answer of the problem, and whether they have lost what cancels. */
function rewritings({ nodes }: Trace, problem: Problem): Measures {
  // What answers a problem has more than an expression.
  const written = nodes.map(({ text }) => text.trim()).filter((text) => SUM.test(text));
  if (written.length === 0) return {};
  const keeps = (text: string) => answerOf(parseExpression(text)) === answerOf(problem);
  const measures = { 'keep the answer': mean(written.map((text) => Number(keeps(text)))) };
  const shortest = renderExpression(polished(problem));
  if (shortest === renderExpression(problem)) return measures;
  return { ...measures, 'are without what cancels': mean(written.map((text) => Number(text === shortest))) };
}

/** How many meta-actions of a kind a text has taken. */
function metaActions({ nodes }: Trace): Measures {
  const counts = nodes.flatMap(({ payload }) => {
    const found = payload as Partial<Record<'reflect' | 'explore', number>> | undefined;
    return found?.reflect === undefined ? [] : [{ reflections: found.reflect, explorations: found.explore! }];
  });
  return counts[0] ?? {};
}

/** Relative error of the length that was asked for. */
const lengths =
  (target: number) =>
  ({ spent }: Trace): Measures => ({ 'length error': lengthError([spent.completionTokens], target) });

/** What is measured beside accuracy, by how an arm's name begins. */
const MEASURES: Readonly<Record<string, (trace: Trace, problem: Problem) => Measures>> = {
  selfPolish: rewritings,
  coat: metaActions,
  // The control of length: what is written where no length was asked for.
  'majorityVote n=1': ({ spent }) => ({
    'length error from 48': lengthError([spent.completionTokens], 48),
    'length error from 80': lengthError([spent.completionTokens], 80),
  }),
  'lengthControl 48': lengths(48),
  'lengthControl 80': lengths(80),
};

/** What is measured of a search by the arm of that name. */
export const measuresOf = (name: string, trace: Trace, problem: Problem): Measures =>
  Object.entries(MEASURES).find(([start]) => name.startsWith(start))?.[1](trace, problem) ?? {};

/** The mean of each measure over the searches that have it. */
export function meanMeasures(list: readonly Measures[]): Measures {
  const names = [...new Set(list.flatMap((it) => Object.keys(it)))];
  return Object.fromEntries(names.map((name) => [name, mean(list.flatMap((it) => it[name] ?? []))]));
}
