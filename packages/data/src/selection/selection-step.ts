import { custom, type Embedder, integer, number, PosttrainError, type Scorer } from '@posttrain/interfaces';
import type { DataStep, StepContext } from '../step.js';
import { checkedVectors, inBatches } from './feature-requests.js';

/** Ids of the rows that are chosen, before a row is given on. */
export interface SelectionPlan {
  readonly chosen: ReadonlySet<string>;
}

/** A step that chooses among all rows: they come in the order of the source, unchanged. */
export type SelectionStep<R extends object> = DataStep<R, R, SelectionPlan> & { readonly passes: true };

/** A step whose plan says which rows stay; `reason` is why the others do not. */
export function selectionStep<R extends object>(
  name: string,
  version: string,
  reason: string,
  choose: (rows: AsyncIterable<R>, context: StepContext<R>) => Promise<Iterable<string>>,
): SelectionStep<R> {
  return {
    name,
    version,
    passes: true,
    plan: async (rows, context) => ({ chosen: new Set(await choose(rows, context)) }),
    async *apply(rows, context, { chosen }) {
      for await (const row of rows) {
        if (chosen.has(context.keyOf(row).id)) yield row;
        else context.drop(row, reason);
      }
    },
  };
}

/** How many rows stay: a count, or else a share of those that can. */
export const keepShape = {
  /** How many rows stay. Default: `share` of them. */
  count: integer({ optional: true, min: 1 }),
  /** Which share stays where no `count` is given, rounded up. Default 0.1. */
  share: number({ default: 0.1, above: 0, max: 1 }),
};

/** The ids with the highest scores; of equal ones the first. What has no score (`null`, or NaN) cannot stay. */
export function highest(
  scores: readonly { readonly id: string; readonly score: number | null }[],
  { count, share }: { readonly count?: number | undefined; readonly share: number },
): string[] {
  const able = scores.filter(
    (one): one is { id: string; score: number } => one.score !== null && !Number.isNaN(one.score),
  );
  // A share of 0.07 of 100 is 7, whatever its last bit says.
  const kept = count ?? Math.ceil(share * able.length - 1e-9 * able.length);
  return able
    .toSorted((a, b) => b.score - a.score)
    .slice(0, kept)
    .map(({ id }) => id);
}

/** Scores of all rows, batch by batch, with their ids. */
export async function scoreRows<R extends object>(
  rows: AsyncIterable<R>,
  context: StepContext<R>,
  size: number,
  score: (batch: readonly R[], first: number) => Promise<readonly (number | null)[]>,
): Promise<{ id: string; score: number | null }[]> {
  const scores: { id: string; score: number | null }[] = [];
  for await (const { batch, first } of inBatches(rows, size)) {
    context.signal.throwIfAborted();
    const found = await score(batch, first);
    batch.forEach((row, i) => {
      scores.push({ id: context.keyOf(row).id, score: found[i]! });
    });
  }
  return scores;
}

/** The option of a scorer. */
export const scorerOption = custom<Scorer>()(
  'a scorer: an object with a name and score(requests)',
  (value) => typeof (value as Partial<Scorer> | null)?.score === 'function',
  { settings: ({ name }) => name },
);

/** The option of an embedder. */
export const embedderOption = custom<Embedder>()(
  'an Embedder: an object with a name and embed(texts)',
  (value) => typeof (value as Partial<Embedder> | null)?.embed === 'function',
  { settings: ({ name }) => name },
);

/** Log-likelihoods of texts, one each. @throws PosttrainError `BAD_RESPONSE` */
export async function scored(scorer: Scorer, requests: Parameters<Scorer['score']>[0]): ReturnType<Scorer['score']> {
  const scores = await scorer.score(requests);
  if (scores.length === requests.length) return scores;
  const problem = `${scorer.name} returned ${scores.length} scores for ${requests.length} requests.`;
  throw new PosttrainError('BAD_RESPONSE', problem);
}

/** Vectors of texts, of length 1 (0 stays 0). @throws PosttrainError `BAD_RESPONSE` */
export async function unitVectors(embedder: Embedder, texts: readonly string[]): Promise<Float64Array[]> {
  const vectors = checkedVectors(embedder.name, await embedder.embed(texts), texts.length);
  return vectors.map((vector) => {
    const length = Math.hypot(...vector) || 1;
    return Float64Array.from(vector, (x) => x / length);
  });
}

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
