import {
  custom,
  type FeatureRequest,
  type Given,
  integer,
  number,
  oneOf,
  options,
  type RowGradients,
} from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { checkedVectors, featureRequestOf, featureRequestShape, inBatches } from '../selection/feature-requests.js';
import { influence, meanDirection, type TargetDirection } from '../selection/influence.js';
import type { DataStep } from '../step.js';

/** A model in the middle of its warm-up training. */
export interface LessCheckpoint {
  /** `rowGradients(trainer)` of `@posttrain/training`, of the trainer restored to the checkpoint. */
  readonly gradients: RowGradients;
  /** The checkpoint's learning rate η. Default 1. Only ratios matter: they are divided by their sum. */
  readonly learningRate?: number;
}

/** Rows that the model should do well on, by the name of their task. */
export type LessTargets = Readonly<Record<string, readonly FeatureRequest[]>>;

const isCheckpoint = (value: LessCheckpoint | null | undefined): boolean => {
  const { gradients, learningRate = 1 } = value ?? ({} as Partial<LessCheckpoint>);
  return typeof gradients?.gradients === 'function' && Number.isFinite(learningRate) && learningRate > 0;
};

const lessOptions = options('lessSelect', {
  /**
   * Checkpoints of a short training on some of the rows, with LoRA for example; the paper takes four. One is enough
   * to begin with.
   */
  checkpoints: custom<readonly LessCheckpoint[]>()(
    'a list of { gradients, learningRate }',
    (value) => Array.isArray(value) && value.length > 0 && value.every(isCheckpoint),
    {
      settings: (checkpoints) =>
        JSON.stringify(checkpoints.map(({ gradients, learningRate = 1 }) => [gradients.name, learningRate])),
    },
  ),
  /** A few rows of each task that the selection is for. A row counts for the task that it helps most. */
  targets: custom<LessTargets>()(
    'lists of { prompt, completion } by the name of their task',
    (value) => {
      const lists = Object.values((value ?? {}) as LessTargets);
      return lists.length > 0 && lists.every((list) => Array.isArray(list) && list.length > 0);
    },
    { settings: (targets) => JSON.stringify(targets) },
  ),
  /** Share of the rows that is kept, rounded up. Default 0.05. */
  fraction: number({ default: 0.05, above: 0, max: 1 }),
  /** How many rows are kept, in the place of `fraction`. */
  count: integer({ optional: true, min: 1 }),
  /** Length of the gradients' random projection. Default 8192. */
  projection: integer({ default: 8192, min: 1 }),
  /** Seed of the projection. Default 0. */
  seed: integer({ default: 0 }),
  /**
   * Γ of the rows to choose from: `adam`, the update of Adam, or `sgd`, the gradient. Targets have their gradient.
   * Default `adam`.
   */
  direction: oneOf(['adam', 'sgd'], { default: 'adam' }),
  ...featureRequestShape,
});
/** Options of `lessSelect`. */
export type LessSelectOptions = Given<typeof lessOptions>;

/** What `lessSelect` decides before a row is given on. */
export interface LessPlan {
  /** Influence of each row that is kept, by its id. */
  readonly kept: ReadonlyMap<string, number>;
}

/**
 * Selection by influence (LESS, arXiv 2402.04333): keeps the rows whose gradient points where those of a few target
 * rows point, max over tasks m of Σᵢ ηᵢ · mean over z′ ∈ m of cos(∇ℓ(z′; θᵢ), Γ(z; θᵢ)), in the order of the source;
 * of equal ones the first. A plan: gradients are asked for once for each row and checkpoint, and one number a row is
 * kept.
 *
 * Its version knows checkpoints by their names, not by their weights: give a model that was trained on another name.
 *
 * @throws OptionError; RowError for a row without prompt and completion; PosttrainError `BAD_RESPONSE` for gradients
 *   of other numbers or lengths
 */
export function lessSelect<R extends object = Row>(
  given: LessSelectOptions,
): DataStep<R, R, LessPlan> & { readonly passes: true } {
  const { checkpoints, targets, fraction, count, projection, seed, direction, request, batchSize } =
    lessOptions.read(given);
  const total = checkpoints.reduce((sum, { learningRate = 1 }) => sum + learningRate, 0);
  const ask = async (
    { gradients }: LessCheckpoint,
    requests: readonly FeatureRequest[],
    towards: 'adam' | 'sgd',
    signal: AbortSignal,
  ) => {
    const vectors = await gradients.gradients(requests, { projection, seed, direction: towards, signal });
    return checkedVectors(gradients.name, vectors, requests.length);
  };
  const directionsOf = async (rows: readonly FeatureRequest[], signal: AbortSignal): Promise<TargetDirection[]> => {
    const directions: TargetDirection[] = [];
    for (const checkpoint of checkpoints) {
      const mean = meanDirection(await ask(checkpoint, rows, 'sgd', signal));
      directions.push({ mean, weight: (checkpoint.learningRate ?? 1) / total });
    }
    return directions;
  };

  return {
    name: 'less select',
    version: JSON.stringify(lessOptions.settings(given)),
    passes: true,
    async plan(rows, context) {
      const wanted: TargetDirection[][] = [];
      for (const target of Object.values(targets)) wanted.push(await directionsOf(target, context.signal));
      const found: { readonly id: string; readonly worth: number }[] = [];
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        const requests = batch.map((row, i) => featureRequestOf(row, first + i, request));
        const updates: (readonly Float32Array[])[] = [];
        for (const checkpoint of checkpoints) {
          updates.push(await ask(checkpoint, requests, direction, context.signal));
        }
        batch.forEach((row, i) => {
          const update = updates.map((vectors) => vectors[i]!);
          const worth = Math.max(...wanted.map((target) => influence(update, target)));
          found.push({ id: context.keyOf(row).id, worth });
        });
        context.onProgress({ stage: 'less select: gradients', done: found.length });
      }
      const best = found.toSorted((a, b) => b.worth - a.worth).slice(0, count ?? Math.ceil(fraction * found.length));
      return { kept: new Map(best.map(({ id, worth }) => [id, worth])) };
    },
    async *apply(rows, context, { kept }) {
      for await (const row of rows) {
        if (kept.has(context.keyOf(row).id)) yield row;
        else context.drop(row, 'others help the targets more');
      }
    },
  };
}
