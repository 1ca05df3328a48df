import {
  assertArgument,
  boolean,
  custom,
  type GenerateRequest,
  type Given,
  integer,
  listOf,
  number,
  oneOf,
  options,
} from '@posttrain/interfaces';
import { TOKEN_STATISTICS } from './token-statistics.js';

const isTokenMap = (value: unknown): boolean =>
  value instanceof Map &&
  [...value.values()].every((bias) => typeof bias === 'number' && bias < Number.POSITIVE_INFINITY);

/** What a row's draws are made of; what is absent is off. */
export const samplerShape = {
  /** 0: greedy. */
  temperature: number({ min: 0 }),
  topK: integer({ optional: true, min: 1 }),
  topP: number({ above: 0, max: 1 }),
  minP: number({ min: 0, max: 1 }),
  repetitionPenalty: number({ above: 0 }),
  typicalP: number({ optional: true, above: 0, max: 1 }),
  epsilonCutoff: number({ optional: true, min: 0, below: 1 }),
  etaCutoff: number({ optional: true, min: 0, below: 1 }),
  presencePenalty: number({ optional: true }),
  frequencyPenalty: number({ optional: true }),
  /** By token id. Infinity would leave nothing to divide by; −Infinity forbids. */
  logitBias: custom<ReadonlyMap<number, number>>()('numbers below Infinity by token id', isTokenMap, {
    optional: true,
  }),
  noRepeatNgramSize: integer({ optional: true, min: 0 }),
  badWordsIds: listOf(listOf(integer({ min: 0 }), {}), { optional: true }),
  minNewTokens: integer({ optional: true, min: 0 }),
  /** What `minNewTokens` forbids, and what a constraint allows when it is complete. */
  endTokens: custom<ReadonlySet<number>>()('a set of token ids', (value) => value instanceof Set, { optional: true }),
  /** Whether to report log-probabilities. Default true. */
  logProbs: boolean({ optional: true }),
  /** How many of the most likely tokens to report. Default 0. */
  topLogProbs: integer({ optional: true, min: 0 }),
  /** Whether to report the entropy. Default false. */
  entropies: boolean({ optional: true }),
  /** What else to report of each token's distribution. Default: nothing. */
  statistics: listOf(oneOf(TOKEN_STATISTICS, {}), { optional: true }),
  /** Whether to report the log-probabilities that tokens were drawn with. Default false. */
  samplingLogProbs: boolean({ optional: true }),
  /** Whether to report which tokens could have been drawn. Default false. */
  keptTokens: boolean({ optional: true }),
};
const samplerOptions = options('generate', samplerShape);

/** How one row draws its tokens; the resolved form of `SamplingParams`. */
export type SamplerSettings = Omit<Given<typeof samplerOptions>, 'topK'> & { readonly topK: number | undefined };

/** What a local model reports beyond what any `Generator` does. */
export type LocalReports = Pick<SamplerSettings, 'statistics' | 'samplingLogProbs' | 'keptTokens'>;

/** What a request asks of the sampler. */
export function samplerSettings(
  request: Omit<GenerateRequest, 'constraint' | 'prompt'> & LocalReports,
  endTokens: ReadonlySet<number>,
): SamplerSettings {
  const { logitBias, badWordsIds } = request;
  return {
    temperature: request.temperature ?? 1,
    topK: request.topK,
    topP: request.topP ?? 1,
    minP: request.minP ?? 0,
    repetitionPenalty: request.repetitionPenalty ?? 1,
    typicalP: request.typicalP ?? 1,
    epsilonCutoff: request.epsilonCutoff ?? 0,
    etaCutoff: request.etaCutoff ?? 0,
    presencePenalty: request.presencePenalty ?? 0,
    frequencyPenalty: request.frequencyPenalty ?? 0,
    ...(logitBias ? { logitBias: new Map(Object.entries(logitBias).map(([id, bias]) => [Number(id), bias])) } : {}),
    ...(badWordsIds ? { badWordsIds } : {}),
    noRepeatNgramSize: request.noRepeatNgramSize ?? 0,
    minNewTokens: request.minNewTokens ?? 0,
    endTokens,
    logProbs: request.logProbs ?? false,
    topLogProbs: request.topLogProbs ?? 0,
    entropies: request.entropies ?? false,
    ...(request.statistics && { statistics: request.statistics }),
    samplingLogProbs: request.samplingLogProbs ?? false,
    keptTokens: request.keptTokens ?? false,
  };
}

/**
 * Throws for a setting outside its range, naming it. `vocabularySize`: of the logits, for settings that name tokens.
 *
 * @throws OptionError
 */
export function checkSamplerSettings(settings: SamplerSettings, vocabularySize = Number.POSITIVE_INFINITY): void {
  // A row has more than these.
  const given = Object.keys(samplerShape).map((name) => [name, settings[name as keyof SamplerSettings]]);
  const { logitBias, badWordsIds = [], minNewTokens = 0, endTokens } = samplerOptions.read(Object.fromEntries(given));
  const require = (isRight: boolean, name: keyof SamplerSettings, value: unknown, expects: string) =>
    assertArgument('generate', name, value, isRight, expects);
  require(minNewTokens === 0 || endTokens !== undefined, 'endTokens', endTokens, 'given with minNewTokens');
  const isToken = (token: number) => Number.isInteger(token) && token >= 0 && token < vocabularySize;
  const ofModel = `made of tokens of the model, which has ${vocabularySize}`;
  for (const token of logitBias?.keys() ?? []) require(isToken(token), 'logitBias', token, ofModel);
  for (const word of badWordsIds) {
    require(word.length > 0, 'badWordsIds', word, 'lists of at least one token each');
    for (const token of word) require(isToken(token), 'badWordsIds', token, ofModel);
  }
}
