import type { DecodeRow } from './decode-row.js';
import type { Logits } from './processors/editable-scores.js';
import type { SampledToken } from './report-token.js';
import { sampleToken } from './sampler.js';
import { TokenHistory } from './token-history.js';

/** What a row has so far. */
export type RowState = TokenHistory;

export const startRow = ({ prompt, constraint }: DecodeRow): RowState => new TokenHistory(prompt, constraint?.());

/** Draws the next token of a row and adds it to what it has. */
export function drawNext(row: DecodeRow, state: RowState, logits: Logits): SampledToken {
  const uniform = row.temperature === 0 ? 0 : row.key.child(state.generated.length).uniformHost(1)[0]!;
  const drawn = sampleToken(logits, row, state, uniform);
  state.push(drawn.token, row.isEnd(drawn.token));
  return drawn;
}
