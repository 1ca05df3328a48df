import type { Key } from '@posttrain/core-tensor';
import { integer, options, PosttrainError } from '@posttrain/interfaces';
import type { TokenConstraint } from '../constraint/token-constraint.js';
import { type Adapter, contextOf } from '../model/adapter.js';
import type { Network } from '../model/network.js';
import type { DecodeHook } from './decode-hook.js';
import { checkMix, type DecodingMix } from './decoding-mix.js';
import { checkSamplerSettings, type SamplerSettings } from './sampler-settings.js';

/** One row of generation: tokens in, tokens out. */
export interface DecodeRow extends SamplerSettings {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** Names the row's random stream; the same row, weights and key give the same tokens. */
  readonly key: Key;
  /**
   * Resumption: what an earlier call has generated of this row, which goes on as if it had never stopped, with the random numbers of each
   * place. `maxTokens` counts them. Default: nothing.
   */
  readonly begun?: readonly number[];
  /** A token that ends the row; it counts as generated. */
  readonly isEnd: (token: number) => boolean;
  /** Makes what says which tokens may come; asked once a row. Default: all may. */
  readonly constraint?: (() => TokenConstraint) | undefined;
  /** Default: that of the call. */
  readonly adapter?: Adapter;
  /** Forces and forbids tokens of this row. */
  readonly hook?: DecodeHook;
  /** Other models that have a part in what is drawn. Default: none. */
  readonly mix?: DecodingMix;
}

/** A prompt that leaves no room for a single generated token. */
export class ContextLengthError extends PosttrainError {
  constructor(where: string, tokens: number, limit: number) {
    super(
      'CONTEXT_LENGTH',
      `${where} has ${tokens} tokens, but the model's context holds ${limit} and at least one must be generated; shorten the prompt`,
    );
  }
}

/** Throws for a prompt that cannot be continued. `where` names it. */
export function checkPrompt(
  network: Network,
  prompt: readonly number[],
  where: string,
  adapter?: Pick<Adapter, 'virtualTokens'>,
): void {
  const limit = contextOf(network.config, adapter);
  if (prompt.length === 0) throw new PosttrainError('EMPTY_PROMPT', `${where} has no tokens`);
  if (prompt.length >= limit) throw new ContextLengthError(where, prompt.length, limit);
  const { vocabSize } = network.config;
  const bad = prompt.findIndex((token) => !isTokenOf(vocabSize, token));
  if (bad < 0) return;
  throw new PosttrainError(
    'TOKEN_ID',
    `${where} has ${String(prompt[bad])} at place ${bad}, which is no token id: they are whole numbers from 0 to ${vocabSize - 1}`,
  );
}

/** Whether a vocabulary of this size has the token. */
export const isTokenOf = (vocabSize: number, token: number): boolean =>
  Number.isInteger(token) && token >= 0 && token < vocabSize;

const rowOptions = options('generate', {
  /** Tokens to generate, the one that ends the row included. */
  maxTokens: integer({ min: 1 }),
});

/** Throws for a row that cannot be generated. `where` names its prompt. */
export function checkRow(network: Network, row: DecodeRow, where: string): void {
  checkSamplerSettings(row, network.config.vocabSize);
  const { begun = [] } = row;
  const isOver = begun.findIndex((token) => row.isEnd(token));
  if (isOver >= 0 || (begun.length > 0 && begun.length >= row.maxTokens)) {
    const why =
      isOver >= 0 ? `ended at place ${isOver}` : `has ${begun.length} tokens, and maxTokens is ${row.maxTokens}`;
    throw new PosttrainError('SAMPLING', `generate: what was begun of ${where} ${why}; nothing is left to generate`);
  }
  checkPrompt(network, begun.length > 0 ? [...row.prompt, ...begun] : row.prompt, where, row.adapter);
  if (row.mix) checkMix(network, row.mix);
  for (const { model, adapter, prompt = row.prompt } of row.mix?.models ?? []) {
    checkPrompt(model.network, prompt, `${where}, for a model of ${row.mix!.name},`, adapter);
  }
  rowOptions.read({ maxTokens: row.maxTokens });
}
