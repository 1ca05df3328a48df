import type { DecodeRow } from './decode-row.js';
import { type Logits, type SampledToken, sampleToken } from './sampler.js';
import { tokenLogProb } from './token-probabilities.js';

/** What a row has so far. */
export interface RowState {
  readonly generated: number[];
  /** Tokens so far, for the repetition penalty; empty where there is none. */
  readonly seen: Set<number>;
  /** Tokens that come next, whatever the model says. */
  readonly forced: number[];
}

/** How a token is drawn from logits; its log-probability is under these. */
export type DrawToken = (logits: Logits) => SampledToken;

export const startRow = ({ prompt, repetitionPenalty }: DecodeRow): RowState => ({
  generated: [],
  seen: new Set(repetitionPenalty === 1 ? [] : prompt),
  forced: [],
});

/** A token of a row. */
export interface DrawnToken extends SampledToken {
  /** The row's hook put it there: it was not drawn. */
  readonly forced?: true;
}

/** Draws the next token of a row and adds it to what it has. `draw` draws it in another way than `sampleToken`. */
export function drawNext(row: DecodeRow, state: RowState, logits: Logits, draw?: DrawToken): DrawnToken {
  const next = row.hook ? hookedToken(row, state, logits, draw) : drawToken(row, state, logits, draw);
  state.generated.push(next.token);
  if (row.repetitionPenalty !== 1) state.seen.add(next.token);
  return next;
}

function drawToken(row: DecodeRow, state: RowState, logits: Logits, draw: DrawToken | undefined): SampledToken {
  if (draw) return draw(logits);
  const uniform = row.temperature === 0 ? 0 : row.key.child(state.generated.length).uniformHost(1)[0]!;
  return sampleToken(logits, row, state.seen, uniform);
}

function hookedToken(row: DecodeRow, state: RowState, logits: Logits, draw: DrawToken | undefined): DrawnToken {
  const { prompt, hook } = row;
  const { generated, forced } = state;
  const force = (): DrawnToken => {
    const token = forced.shift()!;
    return { token, logProb: tokenLogProb(logits, token, row.temperature), forced: true };
  };
  const step = forced.length === 0 ? hook!.next?.({ prompt, generated }) : undefined;
  forced.push(...(step?.force ?? []));
  if (forced.length > 0) return force();
  const forbid = step?.forbid ?? [];
  const drawn = drawToken(row, state, forbid.length > 0 ? without(logits, forbid) : logits, draw);
  forced.push(...(hook!.replace?.({ prompt, generated }, drawn.token) ?? []));
  if (forced.length > 0) return force();
  // What is forbidden does not change what the model says of the token.
  return forbid.length === 0 ? drawn : { ...drawn, logProb: tokenLogProb(logits, drawn.token, row.temperature) };
}

function without(logits: Logits, tokens: readonly number[]): Logits {
  const scores = logits.slice();
  for (const token of tokens) scores[token] = Number.NEGATIVE_INFINITY;
  return scores;
}
