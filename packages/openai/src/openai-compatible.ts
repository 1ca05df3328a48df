import {
  assertArgument,
  type ChatMessage,
  type Completion,
  custom,
  options as declare,
  excerpt,
  type GenerateRequest,
  type Generator,
  type Given,
  integer,
  OptionError,
  oneOf,
  type Read,
  type TokenLogProb,
  type Usage,
} from '@posttrain/interfaces';
import { allOrAbort } from '@posttrain/interfaces/concurrency';
import { createEndpoint, endpointShape, isRecord } from './endpoint.js';
import { answered, EndpointError } from './errors.js';
import { alternatives, chosenLogProbs } from './log-probs.js';
import { requestFields } from './request-fields.js';
import { stopOf } from './stop-of.js';

/**
 * How a chat endpoint is told to continue the last assistant message, which differs from server to server:
 * - `continue-final-message`: `add_generation_prompt: false, continue_final_message: true` (vLLM);
 * - `prefix-flag`: `prefix: true` on that message (DeepSeek's beta endpoint, LiteLLM);
 * - `assistant-message`: the message alone, for servers that continue it unasked.
 */
export type PrefixMode = 'continue-final-message' | 'prefix-flag' | 'assistant-message';

const PREFIX_MODES = ['continue-final-message', 'prefix-flag', 'assistant-message'] as const satisfies PrefixMode[];

const generatorOptions = declare('openaiCompatible', {
  ...endpointShape,
  /**
   * `chat`: `/chat/completions`; a plain text prompt becomes one user message. `completions`: `/completions`; takes
   * plain text prompts only.
   */
  api: oneOf(['chat', 'completions'], {}),
  /** How `prefix` is sent to a chat endpoint. Without it, a request with a prefix is refused. */
  prefixMode: oneOf(PREFIX_MODES, { optional: true }),
  /**
   * Most choices asked for in one HTTP request; more are asked for in further requests, each with its own seed
   * (`seed + index of its first choice`). Default: all `n`. Set 1 for servers that refuse `n`, or to have the tokens
   * of every completion counted by the server.
   */
  choicesPerRequest: integer({ default: Number.MAX_SAFE_INTEGER, min: 1 }),
  /** Name of the field for `maxTokens`. Default `max_tokens`; OpenAI's newer models want `max_completion_tokens`. */
  maxTokensField: oneOf(['max_tokens', 'max_completion_tokens'], { default: 'max_tokens' }),
  /** Counts the tokens of a text when the server reports no `usage`. Without it, that is an error. */
  countTokens: custom<(text: string) => number>()('a function of a text', (value) => typeof value === 'function', {
    optional: true,
  }),
});

/** Options of `openaiCompatible`. */
export type OpenAICompatibleOptions = Given<typeof generatorOptions>;
type Settings = Read<typeof generatorOptions>;

/**
 * A generator over any OpenAI-compatible endpoint.
 *
 * `topK`, `minP` and `repetitionPenalty` are sent as `top_k`, `min_p` and `repetition_penalty` (vLLM's names), which OpenAI
 * itself does not know. A constraint is sent as `response_format` to a chat endpoint; a `json` one asks for an object,
 * which is all that the protocol has. What it has no field for is refused. `logProbs` are what the server reports: most
 * report the model's own distribution, not the one after temperature and truncation. `topLogProbs` need a server that
 * names tokens by id (vLLM with `extraBody: { return_tokens_as_token_ids: true }`).
 *
 * `stop` of a completion is what the server says of it (vLLM's `stop_reason`, SGLang's `matched_stop`); `includeStop` needs one
 * that does, since otherwise a step's end cannot be told from the model's own.
 *
 * Refill: a server that returns fewer choices than asked is asked again for the rest. It reports the tokens of all
 * choices of a request together: `promptTokens` are given to the first of them, and `completionTokens` are exact with
 * `choicesPerRequest: 1` or `logProbs`, else shared out in proportion to the lengths of the texts, their sum exact.
 *
 * @throws OptionError and UnsupportedRequestError before anything is sent; EndpointError with status and start of the body. The
 * API key is in no message
 */
export function openaiCompatible(options: OpenAICompatibleOptions): Generator {
  const where = 'openaiCompatible';
  const settings = generatorOptions.read(options);
  const { api, prefixMode, choicesPerRequest, maxTokensField } = settings;
  const endpoint = createEndpoint(where, settings);
  const path = api === 'chat' ? 'chat/completions' : 'completions';

  const ask = async (
    request: GenerateRequest,
    first: number,
    n: number,
    signal: AbortSignal,
  ): Promise<Completion[]> => {
    const body = {
      ...promptFields(request, api, prefixMode),
      ...requestFields(request, api, maxTokensField),
      ...(request.seed === undefined ? {} : { seed: request.seed + first }),
      n,
    };
    const answer = await endpoint.post(path, body, signal);
    const completions = parseAnswer(answer, api, request, n, settings);
    if (completions.length === n) return completions;
    const got = completions.length;
    return [...completions, ...(await ask(request, first + got, n - got, signal))];
  };

  return {
    name: options.model,
    async generate(requests) {
      const parts = requests.flatMap((request, r) => {
        const n = request.n ?? 1;
        assertArgument(where, 'n', n, Number.isSafeInteger(n) && n >= 1, 'a whole number of at least 1');
        const starts: number[] = [];
        for (let first = 0; first < n; first += choicesPerRequest) starts.push(first);
        return starts.map((first) => ({ request, r, first, n: Math.min(choicesPerRequest, n - first) }));
      });
      const answers = await allOrAbort(
        requests.map(({ signal }) => signal),
        parts.map(
          ({ request, first, n }) =>
            (signal: AbortSignal) =>
              ask(request, first, n, signal),
        ),
      );
      const completions = requests.map((): Completion[] => []);
      answers.forEach((answer, i) => {
        completions[parts[i]!.r]!.push(...answer);
      });
      return completions;
    },
  };
}

function promptFields(
  { prompt, prefix }: GenerateRequest,
  api: 'chat' | 'completions',
  prefixMode: PrefixMode | undefined,
): Record<string, unknown> {
  if (api === 'completions') {
    if (typeof prompt !== 'string') {
      throw wrong(
        'prompt',
        "the completions API takes plain text, not messages; use api: 'chat', or render the chat template yourself.",
      );
    }
    return { prompt: prompt + (prefix ?? '') };
  }
  const messages: ChatMessage[] = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : [...prompt];
  if (!prefix) return { messages };
  const start = { role: 'assistant', content: prefix };
  switch (prefixMode) {
    case 'continue-final-message':
      return { messages: [...messages, start], add_generation_prompt: false, continue_final_message: true };
    case 'prefix-flag':
      return { messages: [...messages, { ...start, prefix: true }] };
    case 'assistant-message':
      return { messages: [...messages, start] };
    case undefined:
      throw wrong(
        'prefixMode',
        'a prefix needs prefixMode, because a chat endpoint that cannot continue a message answers ' +
          "it instead. Set 'continue-final-message' (vLLM), 'prefix-flag' (DeepSeek beta, LiteLLM) or " +
          "'assistant-message', or use api: 'completions'.",
      );
  }
}

const wrong = (option: string, problem: string) =>
  new OptionError('INVALID_OPTION', 'openaiCompatible', option, problem);

interface Choice {
  readonly text: string;
  readonly finishReason: Completion['finishReason'];
  readonly stop?: string | null;
  readonly logProbs?: readonly number[];
  readonly topLogProbs?: readonly (readonly TokenLogProb[])[];
}

function parseAnswer(
  answer: Record<string, unknown>,
  api: 'chat' | 'completions',
  request: GenerateRequest,
  asked: number,
  options: Settings,
): Completion[] {
  const unusable = (what: string) =>
    new EndpointError(
      `openaiCompatible: the answer of "${options.model}" ${what}: ${excerpt(JSON.stringify(answer))}`,
      answered,
    );
  const { choices } = answer;
  if (!Array.isArray(choices) || choices.length === 0) throw unusable('has no choices');
  if (choices.length > asked) throw unusable(`has ${choices.length} choices where ${asked} were asked for`);
  const index = (choice: unknown) => (isRecord(choice) && typeof choice.index === 'number' ? choice.index : 0);
  const parsed = [...choices]
    .sort((a, b) => index(a) - index(b))
    .map((choice) => parseChoice(choice, api, request, unusable));
  const usages = shareUsage(answer.usage, parsed, request, options, unusable);
  return parsed.map((choice, i) => ({ ...choice, usage: usages[i]! }));
}

const FINISH_REASONS: Readonly<Record<string, Completion['finishReason']>> = {
  stop: 'stop',
  eos_token: 'stop',
  stop_sequence: 'stop',
  tool_calls: 'stop',
  function_call: 'stop',
  length: 'length',
  abort: 'abort',
};

function parseChoice(
  choice: unknown,
  api: 'chat' | 'completions',
  { logProbs: wantLogProbs = false, topLogProbs = 0, stop: stops = [], includeStop = false }: GenerateRequest,
  unusable: (what: string) => EndpointError,
): Choice {
  if (!isRecord(choice)) throw unusable('has a choice that is no object');
  const text =
    api === 'completions' ? choice.text : isRecord(choice.message) ? (choice.message.content ?? '') : undefined;
  if (typeof text !== 'string') throw unusable('has a choice without text');
  const finishReason = FINISH_REASONS[String(choice.finish_reason)];
  if (finishReason === undefined) throw unusable(`has the finish_reason ${JSON.stringify(choice.finish_reason)}`);
  const { logprobs } = choice;
  const stop = stopOf(choice, stops);
  if (includeStop && stops.length > 0 && stop === undefined) {
    throw unusable('does not say which stop string ended it (stop_reason), which includeStop needs');
  }
  return {
    text: includeStop && stop ? text + stop : text,
    finishReason,
    ...(stop === undefined ? {} : { stop }),
    ...(wantLogProbs ? { logProbs: chosenLogProbs(logprobs, api, unusable) } : {}),
    ...(topLogProbs > 0 ? { topLogProbs: alternatives(logprobs, api, topLogProbs, unusable) } : {}),
  };
}

function shareUsage(
  usage: unknown,
  choices: readonly Choice[],
  request: GenerateRequest,
  { countTokens }: Settings,
  unusable: (what: string) => EndpointError,
): Usage[] {
  const { prompt_tokens: prompt, completion_tokens: completion } = isRecord(usage) ? usage : {};
  if (typeof prompt === 'number' && typeof completion === 'number') {
    const counted = choices.map(({ logProbs }) => logProbs?.length ?? 0);
    const exact = counted.reduce((sum, tokens) => sum + tokens, 0) === completion;
    const bytes = choices.map(({ text }) => Buffer.byteLength(text));
    const shares = exact ? counted : apportion(completion, bytes);
    return shares.map((completionTokens, i) => ({ promptTokens: i === 0 ? prompt : 0, completionTokens }));
  }
  if (!countTokens) throw unusable('reports no usage; give countTokens, so that tokens can be counted');
  const promptText =
    typeof request.prompt === 'string' ? request.prompt : request.prompt.map(({ content }) => content).join('\n');
  const promptTokens = countTokens(promptText + (request.prefix ?? ''));
  return choices.map(({ text }, i) => ({
    promptTokens: i === 0 ? promptTokens : 0,
    completionTokens: countTokens(text),
  }));
}

/** Whole numbers that sum to `total`, in proportion to `weights` (largest remainders; equal when all weigh nothing). */
function apportion(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  const exact = weights.map((weight) => (sum === 0 ? total / weights.length : (total * weight) / sum));
  const shares = exact.map(Math.floor);
  const byRemainder = exact
    .map((value, i) => [value - shares[i]!, i] as const)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  const left = total - shares.reduce((a, b) => a + b, 0);
  for (const [, i] of byRemainder.slice(0, left)) shares[i]!++;
  return shares;
}
