import type { Tensor } from '@posttrain/core-tensor';
import type { LayerHooks, Weights } from '@posttrain/lm';
import type { Annotation } from './annotation.js';
import type { RowBatch } from './rows.js';
import type { TrainableNetwork } from './trainable-network.js';

/**
 * A pass of a model over rows, as a readout sees it. It is traced: what a readout gives is part of one graph, with
 * gradients to what is trained.
 */
export interface ForwardPass {
  readonly network: TrainableNetwork;
  readonly weights: Weights;
  readonly hooks: LayerHooks;
  readonly batch: RowBatch;
  /** Final, normalised hidden states [b, s, width]; computed once, whoever asks, and not at all where nobody does. */
  readonly hidden: Tensor;
  /** Another readout of the same pass. */
  readonly read: Read;
  /**
   * Another pass of the same weights over the same rows, with other hooks: without an adapter, with other embeddings.
   */
  again(hooks: LayerHooks): ForwardPass;
  /** A pass of another model over the same rows: a teacher, a reference. What is not trained gets no gradient. */
  beside(other: Pick<ForwardPass, 'network' | 'weights'> & Partial<Pick<ForwardPass, 'hooks'>>): ForwardPass;
}

/** A tensor, or tensors by name. */
export type ReadoutValue = Tensor | Readonly<Record<string, Tensor>>;

/**
 * One differentiable view of a pass: log-probabilities, values, logits of a head. Within a pass one object is
 * computed once, and `Trainer.read` compiles it once: make it where the loss is made, not in its function.
 */
export interface Readout<T extends ReadoutValue> {
  readonly name: string;
  /** What its first axes stand for: [b, s - 1, ...] for predictions, [b, s, ...] for tokens, [b, ...] for rows. */
  readonly per: 'prediction' | 'token' | 'row';
  /**
   * Whether it reads one thing of a whole row, which a row of several packed sequences does not have. Default false.
   */
  readonly wholeRow?: boolean;
  /** Annotations that it takes from the rows. A loss that reads it lists them among its own. */
  readonly annotations?: readonly Annotation[];
  compute(pass: ForwardPass): T;
}

/** Gives a readout of the pass at hand. */
export type Read = <T extends ReadoutValue>(readout: Readout<T>) => T;

/** What a loss sees beside the readouts. Padding is 0 everywhere. */
export interface LossInputs {
  /** float32 [b, s - 1]; 0 on padding. */
  readonly weights: Tensor;
  /**
   * int32 [b, s]: which sequence of its row a token is of, from 1; 0 on padding. Sums along a sequence (`suffixSums`)
   * need it.
   */
  readonly segments: Tensor;
  /** By name, as they are declared: [b, s - 1] or [b], with `width` one axis more. */
  readonly annotations: Readonly<Record<string, Tensor>>;
  /**
   * Numbers of this step, by name: float32 scalars that are inputs of the graph, so that another number is no other
   * graph.
   */
  readonly scalars: Readonly<Record<string, Tensor>>;
  /**
   * int32 [b]: rows with the same number are one group, counted from 1; 0 on padding. Only where `groupSize` is
   * `'any'`.
   */
  readonly groups?: Tensor;
}

/** What a loss computes: the scalar to minimise, and metrics. */
export interface LossResult {
  /**
   * The scalar to minimise, already weighted and normalised: micro-batches are added up, so it must be a sum over
   * rows (or groups of rows). Padding rows have weight 0 everywhere.
   */
  readonly loss: Tensor;
  /** Scalars that are added up over micro-batches likewise, but for what `combine` says. */
  readonly metrics: Readonly<Record<string, Tensor>>;
}

/** What every loss says of itself. */
export interface LossDescription {
  readonly name: string;
  /** The annotations it reads. */
  readonly annotations: readonly Annotation[];
  /**
   * Rows that belong together and stay in one micro-batch: 2 for pairs that follow each other, or `'any'` where rows
   * say by `group` which they belong to. Default 1.
   */
  readonly groupSize?: number | 'any';
  /** How the metrics of micro-batches become one, by name. Left out: they are added up. */
  readonly combine?: Readonly<Record<string, 'min' | 'max'>>;
}

/**
 * A loss over anything that is computed from a pass. It is a pure function, traced once for each shape of rows: what
 * changes from step to step comes by `scalars` or annotations. Where rows of several micro-batches are coupled, it
 * takes two passes: `Trainer.read` gives the values of the whole step, and annotations then carry ∂L/∂value.
 */
export interface Loss extends LossDescription {
  /** Names of the numbers that it gets anew in each step. */
  readonly scalars?: readonly string[];
  /** Whether it reads one thing of a whole row: rows of several packed sequences are then refused. Default false. */
  readonly wholeRow?: boolean;
  computeFrom(read: Read, inputs: LossInputs): LossResult;
}
