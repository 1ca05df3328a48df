import { custom, type Embedder, type Given, integer, number, OptionError, options } from '@posttrain/interfaces';
import { DataStepError, RowError } from '../errors.js';
import { kindOf, ownValue, type Row } from '../rows.js';
import { checkedVectors, inBatches } from '../selection/feature-requests.js';
import { fitLogisticRegression, type LogisticRegression, probabilityOf } from '../selection/logistic-regression.js';
import type { DataStep } from '../step.js';

const densityRatioOptions = options('densityRatio', {
  /** What maps prompts to vectors; a finished stage is known again by its name. */
  embedder: custom<Embedder>()(
    'an Embedder: an object with a name and embed(texts)',
    (value) => typeof (value as Partial<Embedder> | null)?.embed === 'function',
    { settings: ({ name }) => name },
  ),
  /** Rows of each label that the classifier is fitted to, drawn without replacement; TRL's `prompt_sample_size`. Default 1024. */
  promptSampleSize: integer({ default: 1024, min: 1 }),
  /** Ratios below this count as this. Default 0.5, as in TRL. */
  minDensityRatio: number({ default: 0.5, min: 0 }),
  /** Ratios above this count as this. Default 10, as in TRL. */
  maxDensityRatio: number({ default: 10, above: 0 }),
  /** Rows of one call of the embedder. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `densityRatio`. */
export type DensityRatioOptions = Given<typeof densityRatioOptions>;

/** What `densityRatio` has learnt before a row is given on. */
export interface DensityRatioPlan {
  readonly weights: readonly number[];
  readonly intercept: number;
}

/** What `densityRatio` adds to a row. */
export interface WithDensityRatio {
  readonly density_ratio: number;
}

/**
 * Underlying distribution matching of BCO (arXiv 2404.04656 §4.2, as TRL's BCOTrainer has it): where desirable and undesirable completions are
 * of different prompts, a classifier of their embeddings says how much likelier a prompt x is among the desirable,
 *
 *   density_ratio = clamp(p(desirable | x) / (1 - p(desirable | x)), min, max)   of undesirable rows; 1 of desirable ones
 *
 * which `preferenceLosses.bco({ matchUnderlyingDistribution: true })` of rl weighs undesirable completions by. Rows have a text `prompt` and a `label`.
 * The classifier is a logistic regression with balanced classes and scikit-learn's ridge.
 *
 * @throws OptionError; RowError without prompt and label; DataStepError where one label has no rows; PosttrainError `BAD_RESPONSE` for
 *   what an embedder must not give
 */
export function densityRatio<R extends object = Row>(
  given: DensityRatioOptions,
): DataStep<R, R & WithDensityRatio, DensityRatioPlan> {
  const settings = densityRatioOptions.read(given);
  const { embedder, promptSampleSize, minDensityRatio: least, maxDensityRatio: most, batchSize } = settings;
  if (least > most) {
    const problem = `minDensityRatio is ${least} and maxDensityRatio ${most}; the first must not be above the second.`;
    throw new OptionError('INVALID_OPTION', 'densityRatio', 'minDensityRatio', problem);
  }
  const name = 'density ratio';
  const embedded = async (prompts: readonly string[]) =>
    checkedVectors(embedder.name, await embedder.embed(prompts), prompts.length);
  return {
    name,
    version: JSON.stringify(densityRatioOptions.settings(given)),
    async plan(rows, context) {
      const random = context.random('prompts');
      const kept: Record<'true' | 'false', string[]> = { true: [], false: [] };
      const seen = { true: 0, false: 0 };
      let number = 0;
      for await (const row of rows) {
        const { prompt, label } = labelled(row, ++number);
        const of = `${label}` as const;
        // A reservoir: every row of a label is as likely to stay.
        const place = kept[of].length < promptSampleSize ? kept[of].length : random.integer(0, seen[of]);
        seen[of]++;
        if (place < promptSampleSize) kept[of][place] = prompt;
      }
      if (number === 0) return { weights: [], intercept: 0 };
      for (const label of ['true', 'false'] as const) {
        if (kept[label].length > 0) continue;
        throw new DataStepError(
          name,
          number,
          `no row has the label ${label}: there are no two distributions to match.`,
        );
      }
      const vectors: Float32Array[] = [];
      const prompts = [...kept.true, ...kept.false];
      for (let from = 0; from < prompts.length; from += batchSize) {
        vectors.push(...(await embedded(prompts.slice(from, from + batchSize))));
        context.signal.throwIfAborted();
        context.onProgress({ stage: `${name}: embeddings`, done: vectors.length });
      }
      const checked = checkedVectors(embedder.name, vectors, prompts.length);
      const { weights, intercept } = fitLogisticRegression(
        checked,
        prompts.map((_, i) => i < kept.true.length),
      );
      return { weights: [...weights], intercept };
    },
    async *apply(rows, context, { weights, intercept }) {
      const classifier: LogisticRegression = { weights: Float64Array.from(weights), intercept };
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        context.signal.throwIfAborted();
        const known = batch.map((row, i) => labelled(row, first + i));
        const asked = known.flatMap(({ label }, i) => (label ? [] : [i]));
        const vectors = asked.length === 0 ? [] : await embedded(asked.map((i) => known[i]!.prompt));
        const ratios = new Map(asked.map((i, at) => [i, ratioOf(probabilityOf(classifier, vectors[at]!))]));
        for (const [i, row] of batch.entries()) yield { ...row, density_ratio: ratios.get(i) ?? 1 };
      }
    },
  };

  // The small number is TRL's, which keeps the ratio finite.
  function ratioOf(p: number): number {
    return Math.min(Math.max(p / (1 - p + 1e-8), least), most);
  }
}

function labelled(row: object, rowNumber: number): { readonly prompt: string; readonly label: boolean } {
  const [prompt, label] = [ownValue(row, 'prompt'), ownValue(row, 'label')];
  if (typeof prompt !== 'string') throw new RowError(rowNumber, 'prompt', `must be a text, got ${kindOf(prompt)}.`);
  if (typeof label !== 'boolean') {
    throw new RowError(rowNumber, 'label', `must be true (desirable) or false, got ${kindOf(label)}.`);
  }
  return { prompt, label };
}
