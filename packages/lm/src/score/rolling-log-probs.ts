import { type Given, integer, options, PosttrainError } from '@posttrain/interfaces';
import { contextOf } from '../model/adapter.js';
import type { RunnableModel } from '../model/network.js';
import { joinedLogProbs } from './joined-log-probs.js';
import { logProbsShape, type SequenceLogProbs, sequenceLogProbs } from './token-log-probs.js';

/** A piece of a sequence: tokens `from` … `to - 1`, of which those from `predictedFrom` on are predicted in it. */
export interface RollingWindow {
  readonly from: number;
  readonly to: number;
  readonly predictedFrom: number;
}

/**
 * How lm-evaluation-harness cuts a sequence of `length` tokens (the first one, a begin token there, is never predicted) for
 * a model that sees `maxLength` tokens at once: the first window predicts as many, every further one the next
 * maxLength - contextLength + 1, from the maxLength tokens before its last. Each token is predicted once, from at least
 * `contextLength` tokens after the first window.
 */
export function rollingWindows(length: number, maxLength: number, contextLength = 1): RollingWindow[] {
  const windows: RollingWindow[] = [];
  for (let done = 1; done < length; ) {
    const step = done === 1 ? maxLength : maxLength - contextLength + 1;
    const to = Math.min(length, done + step);
    windows.push({ from: Math.max(0, to - 1 - maxLength), to, predictedFrom: done });
    done = to;
  }
  return windows;
}

/**
 * How the guide to perplexity of transformers cuts it: windows of `maxLength` tokens that begin `stride` apart, each
 * predicting the tokens that no earlier one has; the last is shorter.
 */
export function strideWindows(length: number, maxLength: number, stride: number): RollingWindow[] {
  const windows: RollingWindow[] = [];
  for (let from = 0, done = 1; done < length; from += stride) {
    const to = Math.min(length, from + maxLength);
    windows.push({ from, to, predictedFrom: done });
    done = to;
  }
  return windows;
}

export const rollingShape = {
  /** Most tokens that the model sees at once. Default: its context. */
  maxLength: integer({ optional: true, min: 1 }),
  /** Tokens that every prediction after the first window is made from at least: lm-evaluation-harness. Default 1. */
  contextLength: integer({ optional: true, min: 1 }),
};
const rollingOptions = options('rollingLogProbs', {
  ...logProbsShape,
  ...rollingShape,
  /** Cut as the guide to perplexity of transformers does, with windows this far apart. Not with `contextLength`. */
  stride: integer({ optional: true, min: 1 }),
});
/** Options of `rollingLogProbs`: how sequences are cut into windows. */
export type RollingOptions = Given<typeof rollingOptions>;

/**
 * `sequenceLogProbs` for sequences of any length: cut into windows, each token but the first predicted exactly once. See
 * `rollingWindows` (the default) and `strideWindows` for what each is predicted from.
 */
export async function rollingLogProbs(
  model: RunnableModel,
  sequences: readonly (readonly number[])[],
  given: RollingOptions = {},
): Promise<SequenceLogProbs[]> {
  const { maxLength: longest, contextLength, stride, ...rest } = rollingOptions.read(given);
  const context = contextOf(model.network.config, rest.adapter);
  const maxLength = longest ?? context;
  if (contextLength !== undefined && stride !== undefined)
    throw new PosttrainError('ROLLING', 'rollingLogProbs: give contextLength or stride, not both');
  checkRolling(maxLength, contextLength, stride, context);
  const pieces = sequences.flatMap((tokens, sequence) => {
    const windows =
      stride === undefined
        ? rollingWindows(tokens.length, maxLength, contextLength)
        : strideWindows(tokens.length, maxLength, stride);
    if (windows.length === 0) {
      throw new PosttrainError('SEQUENCE_LENGTH', `rollingLogProbs: sequence ${sequence} needs two tokens or more`);
    }
    return windows.map((window) => ({ sequence, window, tokens: tokens.slice(window.from, window.to) }));
  });
  const scored = await sequenceLogProbs(
    model,
    pieces.map(({ tokens }) => tokens),
    rest,
  );
  return sequences.map((_, sequence) => {
    const own = pieces.flatMap((piece, i) => (piece.sequence === sequence ? [i] : []));
    return joinedLogProbs(
      own.map((i) => scored[i]!),
      own.map((i) => pieces[i]!.window.predictedFrom - pieces[i]!.window.from - 1),
    );
  });
}

function checkRolling(maxLength: number, contextLength = 1, stride: number | undefined, context: number): void {
  const fail = (what: string): never => {
    throw new PosttrainError('ROLLING', `rollingLogProbs: ${what}`);
  };
  if (maxLength > context) fail(`maxLength must be an integer from 1 to ${context}, not ${maxLength}`);
  if (contextLength > maxLength)
    fail(`contextLength must be an integer from 1 to maxLength (${maxLength}), not ${contextLength}`);
  // A window has to predict something from something.
  if (stride !== undefined && stride > maxLength - 1)
    fail(`stride must be an integer from 1 to maxLength - 1 (${maxLength - 1}), not ${stride}`);
}
