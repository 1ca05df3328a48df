import type { SftLogEntry } from './sft-options.js';

/** What one update has to say. Means are over its trained tokens. */
export interface Update {
  readonly loss: number;
  readonly gradNorm: number;
  readonly learningRate: number;
  readonly tokens: number;
  readonly means: Readonly<Record<string, number>>;
}

/** The running statistics of a run, as JSON: a resumed run goes on with them. */
export interface RunStatistics {
  readonly window: { readonly steps: number; readonly sums: Readonly<Record<string, number>> };
  readonly totalLoss: number;
  readonly numTokens: number;
}

/** Turns updates into log entries: means over the updates since the last entry, and running totals. */
export class RunLog {
  readonly history: SftLogEntry[] = [];
  #steps = 0;
  #sums: Record<string, number> = {};
  #totalLoss = 0;
  #numTokens = 0;

  add({ loss, tokens, means }: Update): void {
    this.#steps++;
    this.#totalLoss += loss;
    this.#numTokens += tokens;
    for (const [name, value] of Object.entries({ loss, ...means })) this.#sums[name] = (this.#sums[name] ?? 0) + value;
  }

  /** Closes the window. `latest` is its last update. */
  entry(latest: Update, step: number, epoch: number): SftLogEntry {
    const means = Object.fromEntries(Object.entries(this.#sums).map(([name, sum]) => [name, sum / this.#steps]));
    const { gradNorm, learningRate } = latest;
    const entry = {
      step,
      metrics: { ...means, grad_norm: gradNorm, learning_rate: learningRate, num_tokens: this.#numTokens, epoch },
    };
    [this.#steps, this.#sums] = [0, {}];
    this.history.push(entry);
    return entry;
  }

  /** Mean loss of all updates so far. */
  meanLoss(updates: number): number {
    return this.#totalLoss / updates;
  }

  get statistics(): RunStatistics {
    return {
      window: { steps: this.#steps, sums: { ...this.#sums } },
      totalLoss: this.#totalLoss,
      numTokens: this.#numTokens,
    };
  }

  restore(history: readonly SftLogEntry[], { window, totalLoss, numTokens }: RunStatistics): void {
    this.history.push(...history);
    [this.#steps, this.#sums] = [window.steps, { ...window.sums }];
    [this.#totalLoss, this.#numTokens] = [totalLoss, numTokens];
  }
}
