import { type GenerateRequest, PosttrainError, showValue } from '@posttrain/interfaces';
import { TOKEN_STATISTICS, type TokenStatistic } from './token-statistics.js';

/** How one row draws its tokens; the resolved form of `SamplingParams`. What is absent is off. */
export interface SamplerSettings {
  /** 0: greedy. */
  readonly temperature: number;
  readonly topK: number | undefined;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly typicalP?: number;
  readonly epsilonCutoff?: number;
  readonly etaCutoff?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  /** By token id. */
  readonly logitBias?: ReadonlyMap<number, number>;
  readonly noRepeatNgramSize?: number;
  readonly badWordsIds?: readonly (readonly number[])[];
  readonly minNewTokens?: number;
  /** What `minNewTokens` forbids, and what a constraint allows when it is complete. */
  readonly endTokens?: ReadonlySet<number>;
  /** Whether to report log-probabilities. Default true. */
  readonly logProbs?: boolean;
  /** How many of the most likely tokens to report. Default 0. */
  readonly topLogProbs?: number;
  /** Whether to report the entropy. Default false. */
  readonly entropies?: boolean;
  /** What else to report of each token's distribution. Default: nothing. */
  readonly statistics?: readonly TokenStatistic[];
  /** Whether to report the log-probabilities that tokens were drawn with. Default false. */
  readonly samplingLogProbs?: boolean;
}

/** What a local model reports beyond what any `Generator` does. */
export type LocalReports = Pick<SamplerSettings, 'statistics' | 'samplingLogProbs'>;

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
  };
}

const NUMBERS = ['temperature', 'topP', 'minP', 'repetitionPenalty', 'typicalP', 'epsilonCutoff', 'etaCutoff'] as const;

/** Throws for a setting outside its range, naming it. `vocabularySize`: of the logits, for settings that name tokens. */
export function checkSamplerSettings(settings: SamplerSettings, vocabularySize?: number): void {
  const require = (isRight: boolean, name: keyof SamplerSettings, range: string, value: unknown = settings[name]) => {
    if (!isRight) throw new PosttrainError('SAMPLING', `generate: ${name} must ${range}, not ${showValue(value)}`);
  };
  // A text compares as a number.
  for (const name of NUMBERS) {
    require(settings[name] === undefined || typeof settings[name] === 'number', name, 'be a number');
  }
  const { temperature, topK, topP, minP, repetitionPenalty, typicalP = 1, minNewTokens = 0 } = settings;
  require(temperature >= 0 && Number.isFinite(temperature), 'temperature', 'be 0 or more');
  require(topK === undefined || (Number.isInteger(topK) && topK >= 1), 'topK', 'be a positive integer');
  require(topP > 0 && topP <= 1, 'topP', 'lie in (0, 1]');
  require(minP >= 0 && minP <= 1, 'minP', 'lie in [0, 1]');
  require(repetitionPenalty > 0 && Number.isFinite(repetitionPenalty), 'repetitionPenalty', 'be positive');
  require(typicalP > 0 && typicalP <= 1, 'typicalP', 'lie in (0, 1]');
  for (const name of ['epsilonCutoff', 'etaCutoff'] as const) {
    const value = settings[name] ?? 0;
    require(value >= 0 && value < 1, name, 'lie in [0, 1)');
  }
  for (const name of ['presencePenalty', 'frequencyPenalty'] as const) {
    require(Number.isFinite(settings[name] ?? 0), name, 'be a number');
  }
  for (const name of ['noRepeatNgramSize', 'minNewTokens', 'topLogProbs'] as const) {
    const value = settings[name] ?? 0;
    require(Number.isInteger(value) && value >= 0, name, 'be 0 or a positive integer');
  }
  require(minNewTokens === 0 || settings.endTokens !== undefined, 'endTokens', 'be given with minNewTokens');
  require(Array.isArray(settings.statistics ?? []), 'statistics', 'be a list');
  for (const name of settings.statistics ?? []) {
    require(TOKEN_STATISTICS.includes(name), 'statistics', `be of ${TOKEN_STATISTICS.join(', ')}`, name);
  }
  const isToken = (token: number) => Number.isInteger(token) && token >= 0 && token < (vocabularySize ?? Infinity);
  for (const [token, bias] of settings.logitBias ?? []) {
    require(isToken(token), 'logitBias', 'name tokens of the model', token);
    // Infinity would leave nothing to divide by; -Infinity forbids.
    require(typeof bias === 'number' && bias < Infinity, 'logitBias', 'be numbers', bias);
  }
  for (const word of settings.badWordsIds ?? []) {
    require(word.length > 0, 'badWordsIds', 'have at least one token each', '[]');
    for (const token of word) require(isToken(token), 'badWordsIds', 'name tokens of the model', token);
  }
}
