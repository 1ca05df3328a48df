import type { Given } from '@posttrain/interfaces';
import { askFor, listedLines, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

/**
 * The points of a skeleton: what its numbered lines say, each number once, whatever stands before and behind them, as the authors' code finds
 * them; without numbers, its lines.
 */
const pointsOf = (skeleton: string): readonly string[] => {
  const numbered = new Map<string, string>();
  for (const [, number, point] of skeleton.matchAll(/(\d+)\.[^\S\n]*(\S[^\n]*)/g)) {
    if (!numbered.has(number!)) numbered.set(number!, point!.trim());
  }
  return numbered.size > 0 ? [...numbered.values()] : listedLines(skeleton);
};

const skeletonOptions = strategyOptions('skeleton-of-thought', {
  /** What is asked for the skeleton. */
  skeletonPrompt: promptOption(
    'a question',
    (question: string) =>
      `${question}\n\nDo not answer yet. Write only the skeleton of the answer: a numbered list of 3 to 10 points, each of 3 to 5 words.`,
  ),
  /** The points of a skeleton. Default: its numbered lines, each number once; without any, its lines. */
  parse: parseOption('the points of a skeleton', pointsOf),
  /** What is asked for one point; `place` counts from 1. */
  expandPrompt: promptOption(
    'a question, the skeleton, and a point of it',
    (question: string, skeleton: string, point: string, place: number) =>
      `${question}\n\nThe skeleton of the answer:\n${skeleton}\n\nWrite only point ${place}, "${point}", in one or two sentences.`,
  ),
});
/** Options of `skeletonOfThought`. `n` is the most points. */
export type SkeletonOfThoughtOptions = Given<typeof skeletonOptions>;

/**
 * Skeleton-of-thought (arXiv 2307.15337): for long answers, fast. The model writes a skeleton of points, all points are written out at the same
 * time, each by a request of its own, and the answer is the points put together in their order:
 *
 *   s ~ π(· | x),   y_i ~ π(· | x, s, i) for i = 1 … m together,   y = p_1 y_1 … p_m y_m
 *
 * A point that the budget does not allow is left out. Throws `NoCandidateError` when there is no skeleton, or none of its points.
 */
export async function skeletonOfThought(problem: Problem, options: SkeletonOfThoughtOptions): Promise<SearchResult> {
  const { n, skeletonPrompt, parse, expandPrompt } = skeletonOptions.read(options);
  const search = new Search(skeletonOptions, problem, options);
  const question = questionOf(problem.prompt);
  const ask = (text: string) => withQuestion(problem.prompt, text);
  const skeleton = await askFor(search, search.root, ask(skeletonPrompt(question)), 'a skeleton');
  if (!skeleton) throw search.nothing('there is no skeleton.');
  const points = parse(skeleton.text).slice(0, n);
  const written = await Promise.all(
    points.map(async (point, i) => {
      const prompt = ask(expandPrompt(question, skeleton.text, point, i + 1));
      const [text] = await search.expand(skeleton, { n: 1, prompt });
      return text ? [{ point, text }] : [];
    }),
  );
  const parts = written.flat();
  if (parts.length === 0) throw search.nothing(`none of ${points.length} points was written.`);
  const whole = parts.map(({ point, text }) => `${point}: ${text.text.trim()}`).join('\n');
  const answer = search.merge(
    parts.map(({ text }) => text),
    { operation: 'put together' },
    whole,
  );
  return search.finish(answer, { reason: 'not in the answer' });
}
