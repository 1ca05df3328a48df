import type { Tensor } from '@posttrain/core-tensor';
import type { LossDescription } from '../loss/loss.js';
import type { TrainingRow } from '../loss/rows.js';

/** What `Trainer.forwardBackward` gives. */
export interface ForwardBackwardResult {
  readonly loss: number;
  /** The loss's own metrics, added up over the micro-batches or combined as the loss says. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Tokens in the rows, padding not counted. */
  readonly tokens: number;
}

const COMBINED = { sum: (a: number, b: number) => a + b, min: Math.min, max: Math.max } as const;

/** Loss and metrics of passes, added up or combined as the loss says. */
export class PassSum {
  readonly #loss: LossDescription;
  readonly #metrics: Record<string, number> = {};
  #total = 0;

  constructor(loss: LossDescription) {
    this.#loss = loss;
  }

  /** Adds one pass and gives its loss. One that is not finite is not added. */
  async add({
    loss,
    metrics,
  }: {
    readonly loss: Tensor;
    readonly metrics: Readonly<Record<string, Tensor>>;
  }): Promise<number> {
    const value = await loss.item();
    if (!Number.isFinite(value)) return value;
    this.#total += value;
    for (const [name, tensor] of Object.entries(metrics)) {
      const [soFar, added] = [this.#metrics[name], await tensor.item()];
      this.#metrics[name] = soFar === undefined ? added : COMBINED[this.#loss.combine?.[name] ?? 'sum'](soFar, added);
    }
    return value;
  }

  result(rows: readonly TrainingRow[]): ForwardBackwardResult {
    const tokens = rows.reduce((sum, row) => sum + row.tokens.length, 0);
    return { loss: this.#total, metrics: this.#metrics, tokens };
  }
}
