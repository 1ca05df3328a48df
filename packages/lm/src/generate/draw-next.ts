import type { DecodeRow } from './decode-row.js';
import { type Logits, type SampledToken, sampleToken } from './sampler.js';

/** What a row has so far. */
export interface RowState {
  readonly generated: number[];
  /** Tokens so far, for the repetition penalty; empty where there is none. */
  readonly seen: Set<number>;
}

export const startRow = ({ prompt, repetitionPenalty }: DecodeRow): RowState => ({
  generated: [],
  seen: new Set(repetitionPenalty === 1 ? [] : prompt),
});

/** Draws the next token of a row and adds it to what it has. */
export function drawNext(row: DecodeRow, state: RowState, logits: Logits): SampledToken {
  const uniform = row.temperature === 0 ? 0 : row.key.child(state.generated.length).uniformHost(1)[0]!;
  const drawn = sampleToken(logits, row, state.seen, uniform);
  state.generated.push(drawn.token);
  if (row.repetitionPenalty !== 1) state.seen.add(drawn.token);
  return drawn;
}
