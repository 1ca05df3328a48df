import { EvaluationError } from '../errors.js';
import { pearson } from '../statistics/pearson.js';
import { type RankCorrelation, type RankCorrelationOptions, rankCorrelation } from '../statistics/rank-correlation.js';

/** HANNA's six criteria of stories, by the columns of `hanna_stories_annotations.csv`. */
export const hannaCriteria = ['Relevance', 'Coherence', 'Empathy', 'Surprise', 'Engagement', 'Complexity'] as const;
/** One of HANNA's criteria. */
export type HannaCriterion = (typeof hannaCriteria)[number];

/** A row of `hanna_stories_annotations.csv`: what one of three people said of a story, 1 to 5. */
export type HannaRow = Readonly<Record<HannaCriterion, number | string>> & {
  readonly 'Story ID': number | string;
  readonly Prompt: string;
  readonly Story: string;
  /** Who wrote it: a model, or `Human`. */
  readonly Model: string;
};

/** A story with the means of what people said of it. */
export interface HannaStory {
  readonly id: string;
  readonly prompt: string;
  readonly story: string;
  readonly model: string;
  readonly ratings: Readonly<Record<HannaCriterion, number>>;
  readonly raters: number;
}

/**
 * HANNA's stories (arXiv 2208.11646), their annotations joined.
 * @throws EvaluationError `BAD_ROW` for a rating that is no number of 1 to 5, or a story of two models
 */
export function hannaStories(rows: readonly HannaRow[]): HannaStory[] {
  const byStory = new Map<string, HannaRow[]>();
  rows.forEach((row, i) => {
    const id = String(row['Story ID'] ?? '');
    const bad = hannaCriteria.find((name) => !(Number(row[name]) >= 1 && Number(row[name]) <= 5));
    if (id === '' || typeof row.Story !== 'string' || typeof row.Model !== 'string' || bad)
      throw new EvaluationError(
        'BAD_ROW',
        `hannaStories: row ${i} needs "Story ID", "Story", "Model" and ${bad ?? 'six ratings'} of 1 to 5.`,
      );
    const known = byStory.get(id) ?? [];
    if (known[0] && known[0].Model !== row.Model)
      throw new EvaluationError('BAD_ROW', `hannaStories: story ${id} is of ${known[0].Model} and of ${row.Model}.`);
    byStory.set(id, [...known, row]);
  });
  return [...byStory].map(([id, said]) => ({
    id,
    prompt: said[0]!.Prompt,
    story: said[0]!.Story,
    model: said[0]!.Model,
    ratings: Object.fromEntries(
      hannaCriteria.map((name) => [name, said.reduce((sum, row) => sum + Number(row[name]), 0) / said.length]),
    ) as Record<HannaCriterion, number>,
    raters: said.length,
  }));
}

/** How a measure agrees with people on a criterion. */
export interface HannaCorrelation {
  /** `null` where all of one are equal. */
  readonly pearson: number | null;
  readonly spearman: RankCorrelation;
  readonly kendall: RankCorrelation;
}

/** Options of `hannaCorrelations`. */
export interface HannaCorrelationOptions extends Pick<RankCorrelationOptions, 'seed'> {
  /** Resamples of each interval. Default 200: Kendall's τ looks at all pairs of a thousand stories each time. */
  readonly resamples?: number;
  /** Over stories, or over the means of models. Default `story`. */
  readonly level?: 'story' | 'system';
}

/**
 * Correlations of a measure with people on each of HANNA's criteria: over stories, or over the means of models (`system`), which says whether the measure
 * orders models as people do. Kendall's is τ-b.
 *
 * @param scores of each story, in their order
 * @throws EvaluationError `UNPAIRED`, `NOT_FINITE`
 */
export function hannaCorrelations(
  stories: readonly HannaStory[],
  scores: readonly number[],
  { level = 'story', resamples = 200, seed = 0 }: HannaCorrelationOptions = {},
): Readonly<Record<HannaCriterion, HannaCorrelation>> {
  if (stories.length !== scores.length)
    throw new EvaluationError('UNPAIRED', `hannaCorrelations: ${scores.length} scores for ${stories.length} stories.`);
  const bootstrap = { resamples, seed };
  const groups = new Map<string, number[]>();
  stories.forEach(({ model }, i) => {
    const name = level === 'story' ? String(i) : model;
    groups.set(name, [...(groups.get(name) ?? []), i]);
  });
  const means = (ofStory: (i: number) => number) =>
    [...groups.values()].map((places) => places.reduce((sum, i) => sum + ofStory(i), 0) / places.length);
  const measured = means((i) => scores[i]!);
  return Object.fromEntries(
    hannaCriteria.map((name) => {
      const said = means((i) => stories[i]!.ratings[name]);
      const spearman = rankCorrelation(measured, said, bootstrap);
      const kendall = rankCorrelation(measured, said, { ...bootstrap, kind: 'kendall' });
      return [name, { pearson: pearson(measured, said), spearman, kendall }];
    }),
  ) as Record<HannaCriterion, HannaCorrelation>;
}
