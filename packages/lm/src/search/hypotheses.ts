import { PosttrainError, showValue } from '@posttrain/interfaces';
import { type Adapter, adapterFor, NO_ADAPTER } from '../model/adapter.js';
import type { CachedSequence } from '../runner/extend-inputs.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { logSoftmax } from '../sampling/log-softmax.js';

/** What may follow one hypothesis: a number per token of the vocabulary. */
export interface Continuations {
  /** log p of every token under the model, natural log. */
  readonly logProbs: Float64Array;
  /**
   * What the search adds up, −Infinity where a token is excluded, given `logProbs` as `SearchPrompt.process` has left them.
   * Not to be changed.
   */
  scores(processed: Float64Array): Float64Array;
}

/** Hypotheses that grow and fork token by token: all that beam search asks of a model. */
export interface Hypotheses {
  /** Begins one hypothesis per prompt. */
  start(prompts: readonly (readonly number[])[]): Promise<Continuations[]>;
  /**
   * Replaces the hypotheses by these: hypothesis `parent` with `token` appended. Hypotheses without a successor are
   * released.
   */
  advance(steps: readonly Step[]): Promise<Continuations[]>;
  /** Gives the room of all of them back. */
  release(): void;
}

export interface Step {
  /** Position in what `start` or the last `advance` gave. */
  readonly parent: number;
  readonly token: number;
}

/** Hypotheses scored by log p under one model. What they share is computed and kept once; all grow in one pass. */
export class ModelHypotheses implements Hypotheses {
  readonly #runner: ModelRunner;
  readonly #adapter: Adapter;
  readonly #temperature: number;
  #sequences: CachedSequence[] = [];
  /** Of each of them, with what it reads of its prompt. */
  #adapters: Adapter[] = [];

  constructor(
    runner: ModelRunner,
    { adapter = NO_ADAPTER, temperature = 1 }: { adapter?: Adapter; temperature?: number } = {},
  ) {
    if (!(temperature > 0) || !Number.isFinite(temperature)) {
      throw new PosttrainError('SEARCH', `search: temperature must be positive, not ${showValue(temperature)}`);
    }
    this.#runner = runner;
    this.#adapter = adapter;
    this.#temperature = temperature;
  }

  start(prompts: readonly (readonly number[])[]): Promise<Continuations[]> {
    this.release();
    this.#adapters = prompts.map((prompt) => adapterFor(this.#adapter, prompt));
    for (const [i, prompt] of prompts.entries()) this.#sequences.push(this.#runner.start(prompt, this.#adapters[i]));
    return this.#extend(prompts.map((prompt, i) => prompt.slice(this.#sequences[i]!.length)));
  }

  advance(steps: readonly Step[]): Promise<Continuations[]> {
    const parents = this.#sequences;
    this.#adapters = steps.map(({ parent }) => this.#adapters[parent]!);
    const moved = new Set<number>();
    // The first child of a parent goes on in its place, further ones fork; the parent itself has not grown yet.
    this.#sequences = steps.map(({ parent }) => {
      const sequence = parents[parent]!;
      if (moved.has(parent)) return this.#runner.fork(sequence);
      moved.add(parent);
      return sequence;
    });
    for (const [i, sequence] of parents.entries()) if (!moved.has(i)) forget(this.#runner, sequence);
    return this.#extend(steps.map(({ token }) => [token]));
  }

  release(): void {
    for (const sequence of this.#sequences) this.#runner.release(sequence);
    this.#sequences = [];
  }

  async #extend(tokens: readonly (readonly number[])[]): Promise<Continuations[]> {
    const inputs = this.#sequences.map((sequence, i) => {
      return { sequence, tokens: tokens[i]!, adapter: this.#adapters[i]! };
    });
    const results = await this.#runner.extend(inputs);
    return results.map(({ logits }) => {
      return { logProbs: logSoftmax(logits[0]!, this.#temperature), scores: (processed) => processed };
    });
  }
}

/** Evicts a pruned hypothesis: its past is not asked for again, so it need not stay in the prefix cache. */
export function forget(runner: ModelRunner, sequence: CachedSequence): void {
  runner.truncate(sequence, 0);
  runner.release(sequence);
}
