import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import { innerProduct } from '../dedup/spherical-k-means.js';
import type { Row } from '../rows.js';
import { embedderOption, unitVectors } from '../selection/embeddings.js';
import { inBatches } from '../selection/feature-requests.js';
import type { DataStep } from '../step.js';
import type { EvaluationText } from './decontaminate.js';
import { textOf, textOption } from './minhash-deduplicate.js';

/** A row that is too much like a problem of an evaluation set. */
export interface SemanticMatch {
  readonly task: string;
  /** Place of the problem among the evaluations, counted from 0. */
  readonly evaluation: number;
  /** Cosine of the two embeddings. */
  readonly similarity: number;
  readonly row: object;
  readonly id: string;
}

const semanticDecontaminateOptions = options('semanticDecontaminate', {
  /** What maps texts to vectors; a finished stage is known again by its name. */
  embedder: embedderOption,
  /** Problems that a model is to be tested on. */
  evaluations: custom<readonly EvaluationText[]>()(
    'a list of at least one { task, query?, answer }',
    (value) => Array.isArray(value) && value.length > 0,
    { settings: (evaluations) => JSON.stringify(evaluations) },
  ),
  /** Column of the text, or a function of the row. Default `"text"`. */
  text: textOption,
  /** Least cosine of what is dropped. It depends on the embedder: look at the matches. Default 0.9. */
  threshold: number({ default: 0.9, min: -1, max: 1 }),
  /** Called with each dropped row and the problem that it is most like, for a report. */
  onMatch: custom<(match: SemanticMatch) => void>()('a function', (value) => typeof value === 'function', {
    optional: true,
    settings: () => 'a function',
  }),
  /** Texts to one call of the embedder. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `semanticDecontaminate`. */
export type SemanticDecontaminateOptions = Given<typeof semanticDecontaminateOptions>;

/**
 * Decontamination by embeddings, which finds what was rephrased (arXiv 2311.04850, whose first stage it is): drops rows whose cosine with a problem of an evaluation set,
 * its question or its question with the answer, is `threshold` or more. Reasons count the rows of each task.
 *
 * @throws OptionError; DataStepError for what is no embedding; RowError where the text is none
 */
export function semanticDecontaminate<R extends object = Row>(
  given: SemanticDecontaminateOptions,
): DataStep<R> & { readonly passes: true } {
  const { embedder, evaluations, text, threshold, onMatch, batchSize } = semanticDecontaminateOptions.read(given);
  const name = 'semantic decontaminate';
  const problems = evaluations.flatMap(({ query, answer }, evaluation) =>
    (query === undefined ? [answer] : [query, `${query}\n${answer}`]).map((problem) => ({ problem, evaluation })),
  );
  return {
    name,
    version: JSON.stringify(semanticDecontaminateOptions.settings(given)),
    passes: true,
    async *apply(rows, context) {
      const targets: Float32Array[] = [];
      for (let i = 0; i < problems.length; i += batchSize) {
        const texts = problems.slice(i, i + batchSize).map(({ problem }) => problem);
        targets.push(...unitVectors(name, await embedder.embed(texts), texts.length, i, targets[0]?.length));
      }
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        context.signal.throwIfAborted();
        const texts = batch.map((row, i) => textOf(row, text, first + i));
        const vectors = unitVectors(name, await embedder.embed(texts), batch.length, first - 1, targets[0]!.length);
        for (const [i, row] of batch.entries()) {
          const similarities = targets.map((target) => innerProduct(target, vectors[i]!));
          const similarity = similarities.reduce((a, b) => Math.max(a, b));
          if (similarity < threshold) {
            yield row;
            continue;
          }
          const { evaluation } = problems[similarities.indexOf(similarity)]!;
          const { task } = evaluations[evaluation]!;
          onMatch?.({ task, evaluation, similarity, row, id: context.keyOf(row).id });
          context.drop(row, `contaminated: ${task}`);
        }
      }
    },
  };
}
