import type { Continuations } from './hypotheses.js';
import { Largest } from './largest.js';
import { NoContinuationError, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

/** What a sum over L tokens is divided by for the score of a hypothesis, with exponent α. */
export const lengthFactors = {
  /** L^α, as transformers has it. */
  power: (length: number, alpha: number) => length ** alpha,
  /** ((5 + L) / 6)^α (GNMT, arXiv 1609.08144 eq. 14; `wu` of OpenNMT): 1 for a single token, and flatter. */
  wu: (length: number, alpha: number) => ((5 + length) / 6) ** alpha,
} as const;

/** The name of a length normalisation. */
export type LengthNormalization = keyof typeof lengthFactors;

/** How one group of beams searches; the resolved options of `beamSearch`. */
export interface BeamRules {
  /** Hypotheses kept. */
  readonly size: number;
  /** What a sum of scores is divided by: see `lengthFactors`. */
  readonly lengthNormalization: LengthNormalization;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
}

interface Beam {
  readonly tokens: readonly number[];
  readonly logProbs: readonly number[];
  /** Sum of the scores of its tokens. */
  readonly sum: number;
  /** Where its continuations are. */
  row: number;
}

interface Candidate {
  readonly beam: Beam;
  readonly token: number;
}

/** The beams of one prompt, or of one group of it: what goes on, what is finished, and whether to go on at all. */
export class BeamGroup {
  /** The beams of the last step that could go on, best first. */
  running: readonly Beam[];
  /** Whether they do. */
  isOpen = true;
  #finished: SearchHypothesis[] = [];
  readonly #prompt: SearchPrompt;
  readonly #rules: BeamRules;

  constructor(prompt: SearchPrompt, row: number, rules: BeamRules) {
    this.#prompt = prompt;
    this.#rules = rules;
    this.running = [{ tokens: [], logProbs: [], sum: 0, row }];
  }

  /** Finished hypotheses, best first. */
  get finished(): readonly SearchHypothesis[] {
    return this.#finished;
  }

  /** Grows every beam by a token. `rows` has the continuations of each; `taken` counts tokens that cost `penalty` each. */
  grow(rows: readonly Continuations[], taken: ReadonlyMap<number, number>, penalty: number): void {
    const { size } = this.#rules;
    const { endTokens, maxTokens, isFinished } = this.#prompt;
    // So many that `size` of them go on even if every beam's likeliest tokens are the end tokens.
    const kept = Math.max(2, 1 + endTokens.size) * size;
    const running: Beam[] = [];
    for (const [rank, { value, item }] of this.#best(rows, taken, penalty, kept).entries()) {
      const beam = grown(item, value, rows);
      const stopped = endTokens.has(item.token) || isFinished?.(beam.tokens) === true;
      if (!stopped && beam.tokens.length < maxTokens) {
        if (running.length < size) running.push(beam);
      } else if (rank < size) this.#finish(beam, stopped ? 'stop' : 'length');
    }
    this.running = running;
    this.isOpen = running.length > 0 && this.#canImprove();
  }

  /** Ends the search where it is; what is running counts as it stands. */
  abort(): void {
    if (this.isOpen) for (const beam of this.running) this.#finish(beam, 'abort');
    this.isOpen = false;
  }

  #best(rows: readonly Continuations[], taken: ReadonlyMap<number, number>, penalty: number, count: number) {
    const best = new Largest<Candidate>(count);
    for (const beam of this.running) {
      const scores = this.#scoresOf(beam, rows, taken, penalty);
      for (let token = 0; token < scores.length; token++) {
        const sum = beam.sum + scores[token]!;
        if (sum > best.least) best.add(sum, { beam, token });
      }
    }
    if (best.items.length === 0 && this.#finished.length === 0) throw new NoContinuationError();
    return best.items;
  }

  #scoresOf(
    beam: Beam,
    rows: readonly Continuations[],
    taken: ReadonlyMap<number, number>,
    penalty: number,
  ): Float64Array {
    const { process } = this.#prompt;
    const row = rows[beam.row]!;
    const processed = process ? row.logProbs.slice() : row.logProbs;
    process?.(processed, beam.tokens);
    const scores = row.scores(processed);
    if (taken.size === 0) return scores;
    const penalized = scores.slice();
    for (const [token, times] of taken) penalized[token]! -= penalty * times;
    return penalized;
  }

  #finish({ tokens, logProbs, sum }: Beam, finishReason: SearchHypothesis['finishReason']): void {
    const score = sum / this.#factorOf(Math.max(1, tokens.length));
    this.#finished.push({ tokens, logProbs, score, finishReason });
    this.#finished.sort((a, b) => b.score - a.score);
    this.#finished.length = Math.min(this.#finished.length, this.#rules.size);
  }

  #factorOf(length: number): number {
    const { lengthNormalization, lengthPenalty } = this.#rules;
    return lengthFactors[lengthNormalization](length, lengthPenalty);
  }

  #canImprove(): boolean {
    const { size, lengthPenalty, earlyStopping } = this.#rules;
    if (this.#finished.length < size) return true;
    if (earlyStopping === true) return false;
    const [best] = this.running;
    // Dividing a negative sum by a larger length makes it larger.
    const longest = earlyStopping === 'never' && lengthPenalty > 0;
    const length = longest ? this.#prompt.maxTokens : best!.tokens.length;
    return best!.sum / this.#factorOf(length) > this.#finished.at(-1)!.score;
  }
}

function grown({ beam, token }: Candidate, sum: number, rows: readonly Continuations[]): Beam {
  const logProb = rows[beam.row]!.logProbs[token]!;
  return { tokens: [...beam.tokens, token], logProbs: [...beam.logProbs, logProb], sum, row: beam.row };
}
