import type { Constraint, GenerateRequest } from '@posttrain/interfaces';
import { assertArgument, assertKnownOptions, GENERATE_HINTS } from '@posttrain/interfaces';
import { UnsupportedRequestError } from './errors.js';

type Api = 'chat' | 'completions';

/** Fields of a request that are sent under another name, or as they are. */
const SENT = {
  temperature: 'temperature',
  topK: 'top_k',
  topP: 'top_p',
  minP: 'min_p',
  repetitionPenalty: 'repetition_penalty',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  logitBias: 'logit_bias',
} as const;

/** Fields that the protocol has no name for, with the values that ask for nothing. */
const NOT_IN_PROTOCOL = {
  typicalP: [1],
  epsilonCutoff: [0],
  etaCutoff: [0],
  badWordsIds: [],
  noRepeatNgramSize: [0],
  minNewTokens: [0],
  entropies: [false],
} as const satisfies Partial<Record<keyof GenerateRequest, readonly unknown[]>>;

const ELSEWHERE = [
  ...([
    'prompt',
    'prefix',
    'n',
    'seed',
    'signal',
    'maxTokens',
    'stop',
    'constraint',
    'logProbs',
    'includeStop',
  ] as const),
] as const;

type Handled = keyof typeof SENT | keyof typeof NOT_IN_PROTOCOL | (typeof ELSEWHERE)[number] | 'topLogProbs';
// A field that a request gets later does not compile until it is sent or refused here.
const KNOWN = [...Object.keys(SENT), ...Object.keys(NOT_IN_PROTOCOL), ...ELSEWHERE, 'topLogProbs'] satisfies [
  keyof GenerateRequest,
] extends [Handled]
  ? string[]
  : never;

/**
 * What a request says beside its prompt, seed and n, in the names of the protocol.
 *
 * @throws UnsupportedRequestError for what the protocol cannot say
 */
export function requestFields(request: GenerateRequest, api: Api, maxTokensField: string): Record<string, unknown> {
  assertKnownOptions('openaiCompatible', request, KNOWN, GENERATE_HINTS);
  for (const [name, nothing] of Object.entries(NOT_IN_PROTOCOL)) {
    const value = request[name as keyof typeof NOT_IN_PROTOCOL];
    const asksNothing = Array.isArray(value) ? value.length === 0 : (nothing as readonly unknown[]).includes(value);
    if (value !== undefined && !asksNothing) {
      throw unsupported(name, 'the protocol has no field for it. Where your server has one, set it in extraBody');
    }
  }
  const given = Object.entries(SENT).map(([name, field]) => [field, request[name as keyof typeof SENT]]);
  const fields = {
    [maxTokensField]: request.maxTokens,
    ...Object.fromEntries(given),
    stop: request.stop?.length ? request.stop : undefined,
    response_format: request.constraint && responseFormat(request.constraint, api),
    ...logProbFields(request, api),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function logProbFields({ logProbs, topLogProbs = 0 }: GenerateRequest, api: Api): Record<string, unknown> {
  const isCount = Number.isInteger(topLogProbs) && topLogProbs >= 0;
  assertArgument('openaiCompatible', 'topLogProbs', topLogProbs, isCount, 'a whole number');
  if (!logProbs && topLogProbs === 0) return {};
  if (api === 'completions') return { logprobs: Math.max(1, topLogProbs) };
  return { logprobs: true, ...(topLogProbs > 0 ? { top_logprobs: topLogProbs } : {}) };
}

function responseFormat(constraint: Constraint, api: Api): Record<string, unknown> {
  if (api === 'completions') throw unsupported('constraint', "text completions take none; use api: 'chat'");
  switch (constraint.type) {
    case 'json-schema':
      return { type: 'json_schema', json_schema: { name: 'completion', schema: constraint.schema, strict: true } };
    case 'json':
      return { type: 'json_object' };
    default:
      throw unsupported(
        `constraint of type '${constraint.type}'`,
        "the protocol has 'json-schema' and 'json' only. Where your server has a field for it, set it in extraBody",
      );
  }
}

const unsupported = (what: string, why: string) =>
  new UnsupportedRequestError(`openaiCompatible: ${what} cannot be asked of an endpoint: ${why}, or leave it out.`);
