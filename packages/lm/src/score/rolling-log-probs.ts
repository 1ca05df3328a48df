import { assertKnownOptions, PosttrainError, showValue } from '@posttrain/interfaces';
import { contextOf } from '../model/adapter.js';
import type { RunnableModel } from '../model/network.js';
import { LOG_PROBS_OPTIONS, type LogProbsOptions, type SequenceLogProbs, sequenceLogProbs } from './token-log-probs.js';

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

/** Options of `rollingLogProbs`: how sequences are cut into windows. */
export interface RollingOptions extends LogProbsOptions {
  /** Most tokens that the model sees at once. Default: its context. */
  readonly maxLength?: number;
  /** Tokens that every prediction after the first window is made from at least: lm-evaluation-harness. Default 1. */
  readonly contextLength?: number;
  /** Cut as the guide to perplexity of transformers does, with windows this far apart. Not with `contextLength`. */
  readonly stride?: number;
}

/**
 * `sequenceLogProbs` for sequences of any length: cut into windows, each token but the first predicted exactly once. See
 * `rollingWindows` (the default) and `strideWindows` for what each is predicted from.
 */
export async function rollingLogProbs(
  model: RunnableModel,
  sequences: readonly (readonly number[])[],
  options: RollingOptions = {},
): Promise<SequenceLogProbs[]> {
  assertKnownOptions('rollingLogProbs', options, [...LOG_PROBS_OPTIONS, 'maxLength', 'contextLength', 'stride']);
  const context = contextOf(model.network.config, options.adapter);
  const { maxLength = context, contextLength, stride, ...rest } = options;
  checkRolling({ maxLength, contextLength, stride }, context);
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
    const parts = pieces.flatMap((piece, i) => {
      if (piece.sequence !== sequence) return [];
      const skipped = piece.window.predictedFrom - piece.window.from - 1;
      const { topLogProbs, ...columns } = scored[i]!;
      return [{ ...columns, skipped, topLogProbs: topLogProbs?.slice(skipped) }];
    });
    const join = (key: 'logProbs' | 'entropies' | 'isGreedy' | 'ranks') =>
      Float32Array.from(parts.flatMap(({ skipped, ...part }) => [...part[key]!.subarray(skipped)]));
    const ranks = rest.ranks ? { ranks: join('ranks') } : {};
    const top = rest.topLogProbs ? { topLogProbs: parts.flatMap(({ topLogProbs }) => topLogProbs ?? []) } : {};
    return { logProbs: join('logProbs'), entropies: join('entropies'), isGreedy: join('isGreedy'), ...ranks, ...top };
  });
}

function checkRolling(
  {
    maxLength,
    contextLength,
    stride,
  }: { readonly [Key in 'maxLength' | 'contextLength' | 'stride']: number | undefined },
  context: number,
): void {
  const fail = (what: string): never => {
    throw new PosttrainError('ROLLING', `rollingLogProbs: ${what}`);
  };
  const within = (value: number | undefined, most: number) => Number.isInteger(value) && value! >= 1 && value! <= most;
  if (!within(maxLength, context))
    fail(`maxLength must be an integer from 1 to ${context}, not ${showValue(maxLength)}`);
  if (contextLength !== undefined && stride !== undefined) fail('give contextLength or stride, not both');
  if (contextLength !== undefined && !within(contextLength, maxLength!)) {
    fail(`contextLength must be an integer from 1 to maxLength (${maxLength}), not ${showValue(contextLength)}`);
  }
  if (stride === undefined) return;
  // A window has to predict something from something.
  if (maxLength! < 2 || !within(stride, maxLength! - 1)) {
    fail(`stride must be an integer from 1 to maxLength - 1 (${maxLength! - 1}), not ${showValue(stride)}`);
  }
}
