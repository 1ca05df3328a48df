import { PosttrainError } from '@posttrain/interfaces';
import type { RowSoftmax } from '../runner/step-memory.js';
import { type DecodeRow, isTokenOf } from './decode-row.js';
import type { Logits } from './processors/editable-scores.js';
import type { SampledToken } from './report-token.js';
import { reportChosen, sampleToken } from './sampler.js';
import type { SamplerSettings } from './sampler-settings.js';
import { TokenHistory } from './token-history.js';

/** What a row has so far. */
export class RowState extends TokenHistory {
  /** Tokens that its hook lets come next, whatever the model says. */
  readonly forced: number[] = [];
}

/** A token of a row. */
export interface DrawnToken extends SampledToken {
  /** The row's hook put it there: it was not drawn. */
  readonly forced?: true;
}

/** What the model says of a position. */
export interface ModelScores {
  readonly logits: Logits;
  /** With the row's temperature; where it is absent it is computed when it is needed. */
  readonly softmax?: RowSoftmax | undefined;
  /** Drawn from in the place of `logits`, of which reports are. */
  readonly mixed?: Logits | undefined;
}

/** How a token is drawn from what the model says. */
export type DrawToken = (scores: ModelScores, settings: SamplerSettings) => SampledToken;

export function startRow({ prompt, constraint, begun = [], isEnd }: DecodeRow): RowState {
  const state = new RowState(prompt, constraint?.());
  for (const token of begun) state.push(token, isEnd(token));
  return state;
}

/** Draws the next token of a row and adds it to what it has. `draw`: in another way than `sampleToken`. */
export function drawNext(row: DecodeRow, state: RowState, scores: ModelScores, draw?: DrawToken): DrawnToken {
  const drawing: DrawToken = draw ?? ((here, settings) => drawToken(here, settings, state, uniformOf(row, state)));
  const next = row.hook ? hookedToken(row, state, scores, drawing) : drawing(scores, row);
  state.push(next.token, row.isEnd(next.token));
  return next;
}

function drawToken(scores: ModelScores, settings: SamplerSettings, state: RowState, uniform: number): SampledToken {
  const { logits, softmax, mixed } = scores;
  if (!mixed) return sampleToken(logits, settings, state, uniform, softmax);
  const silent = {
    ...settings,
    logProbs: false,
    topLogProbs: 0,
    entropies: false,
    statistics: [],
    samplingLogProbs: true,
  };
  const { token, samplingLogProb, keptTokens: kept = null } = sampleToken(mixed, silent, state, uniform);
  return reportChosen(token, logits, settings, softmax, { probability: Math.exp(samplingLogProb!), kept });
}

const uniformOf = (row: DecodeRow, { generated }: RowState): number =>
  row.temperature === 0 ? 0 : row.key.child(generated.length).uniformHost(1)[0]!;

function hookedToken(row: DecodeRow, state: RowState, scores: ModelScores, draw: DrawToken): DrawnToken {
  const { prompt, hook } = row;
  const { generated, forced } = state;
  const force = (): DrawnToken => {
    const token = forced.shift()!;
    if (!isTokenOf(scores.logits.length, token)) {
      throw new PosttrainError(
        'TOKEN_ID',
        `generate: the hook forces ${String(token)}, which is no token of the model`,
      );
    }
    const certain = { probability: 1, kept: [token] };
    return { ...reportChosen(token, scores.logits, row, scores.softmax, certain), forced: true };
  };
  const step = forced.length === 0 ? hook!.next?.({ prompt, generated }) : undefined;
  forced.push(...(step?.force ?? []));
  if (forced.length > 0) return force();
  const drawn = draw(scores, step?.forbid ? without(row, step.forbid) : row);
  forced.push(...(hook!.replace?.({ prompt, generated }, drawn.token) ?? []));
  return forced.length > 0 ? force() : drawn;
}

/** The settings with some tokens forbidden. */
function without(settings: SamplerSettings, tokens: readonly number[]): SamplerSettings {
  const forbidden = tokens.map((token) => [token, Number.NEGATIVE_INFINITY] as const);
  return { ...settings, logitBias: new Map([...(settings.logitBias ?? []), ...forbidden]) };
}
