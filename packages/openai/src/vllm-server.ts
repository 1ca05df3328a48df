import type { Given, TokenSample, TokenSampleRequest } from '@posttrain/interfaces';
import { options as declare, excerpt, type SamplerServer, type SamplerServerFacts, text } from '@posttrain/interfaces';
import { createEndpoint, endpointShape, isRecord } from './endpoint.js';
import { answered, EndpointError } from './errors.js';
import { requestFields } from './request-fields.js';

const WHERE = 'vllmServer';
const { model: _, ...reachShape } = endpointShape;
const serverOptions = declare(WHERE, {
  ...reachShape,
  /** What the server calls its base. Default: the first of its models that is no adapter. */
  model: text({ optional: true }),
});
/** Options of `vllmServer`. */
export type VllmServerOptions = Given<typeof serverOptions>;

/** No adapter is called so. */
const NOBODY = 'posttrain-probe-no-such-adapter';

/** Whether a server says that it has no such field: it names it in quotes, where one that has it says what is wrong with it. */
const refuses = ({ status = 0, bodyExcerpt = '' }: EndpointError, field: string): boolean =>
  [400, 422].includes(status) && new RegExp(`["'\`]${field}\\\\?["'\`]`).test(bodyExcerpt);

/**
 * A server that speaks vLLM's protocol, as a sampler of a fleet: vLLM, `@posttrain/serve`, and what else has its endpoints. Token ids go
 * in and out of `/v1/completions` (`return_token_ids`), log-probabilities of given tokens come from `prompt_logprobs`, adapters come and go by
 * `/v1/load_lora_adapter`, and `/pause` stops it.
 *
 * Start vLLM with `--enable-lora --max-loras K --logprobs-mode processed_logprobs` (else log-probabilities are of temperature 1, and of more
 * than was drawn from), `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` for adapters, `VLLM_SERVER_DEV_MODE=1` for pauses; the server of this project with
 * `--adapter-folder` and `--allow-pause`.
 *
 * @throws OptionError before anything is sent; EndpointError, its `status` absent where no answer came
 */
export function vllmServer(options: VllmServerOptions): SamplerServer {
  const settings = serverOptions.read(options);
  const endpoint = createEndpoint(WHERE, { ...settings, model: settings.model ?? NOBODY });
  const { baseURL: name } = options;
  let named = settings.model;
  /** vLLM ignores `begun`, which is ours; another server may refuse it, once. */
  let refusesBegun = false;

  const models = async (signal: AbortSignal) => {
    const listed = record(await endpoint.ask({ method: 'GET', path: `${versionOf(name)}/models`, signal }));
    const list = Array.isArray(listed.data) ? listed.data.filter(isRecord) : [];
    const base = list.find(({ id, parent }) => (settings.model ? id === settings.model : !parent));
    if (typeof base?.id === 'string') return { base: base.id, contextLength: base.max_model_len };
    const which = settings.model ? `no model "${settings.model}"` : 'no model';
    throw new EndpointError(`${WHERE}: ${name} serves ${which}: ${excerpt(JSON.stringify(listed))}`, answered);
  };
  const baseName = async (signal: AbortSignal) => {
    named ??= (await models(signal)).base;
    return named;
  };

  const sample = async (request: TokenSampleRequest): Promise<readonly TokenSample[]> => {
    const { prompt, n, seed, adapter, begun, signal = never(), ...sampling } = request;
    const body = {
      ...requestFields({ ...sampling, prompt: '' }, 'completions', 'max_tokens'),
      ...{ model: adapter ?? (await baseName(signal)), prompt: [prompt], n, seed, logprobs: 0, return_token_ids: true },
    };
    const answer =
      begun && !refusesBegun
        ? await endpoint.post('completions', { ...body, begun }, signal).catch((error: unknown) => {
            if (!(error instanceof EndpointError) || !refuses(error, 'begun')) throw error;
            refusesBegun = true;
            return endpoint.post('completions', body, signal);
          })
        : await endpoint.post('completions', body, signal);
    const choices = Array.isArray(answer.choices) ? answer.choices.filter(isRecord) : [];
    const unusable = (what: string) =>
      new EndpointError(`${WHERE}: the answer of ${name} ${what}: ${excerpt(JSON.stringify(answer))}`, answered);
    if (choices.length !== n) throw unusable(`has ${choices.length} choices where ${n} were asked for`);
    const place = (choice: Record<string, unknown>) => (typeof choice.index === 'number' ? choice.index : 0);
    return [...choices].sort((a, b) => place(a) - place(b)).map((choice) => sampleOf(choice, unusable));
  };

  return {
    name,
    sample,
    async probe(signal = never()) {
      const { base, contextLength } = await models(signal);
      named = base;
      // Of any vocabulary. What is missing is said by `sampleOf`.
      await sample({ prompt: [1, 2], n: 1, seed: 0, maxTokens: 1, signal });
      const has = async (path: string, method: 'GET' | 'POST', body?: Record<string, unknown>) =>
        endpoint.ask({ method, path, signal, retries: 0, ...(body && { body }) }).then(
          () => true,
          // With the endpoint, an adapter that is not there is said to be so; without it, the path.
          (error: unknown) => error instanceof EndpointError && /cannot be found/.test(error.bodyExcerpt ?? ''),
        );
      const version = await endpoint.ask({ method: 'GET', path: '/version', signal, retries: 0 }).then(
        (answer) => `vLLM ${String(record(answer).version)}`,
        () => 'vLLM-compatible',
      );
      const facts: SamplerServerFacts = {
        ...{ kind: version, model: base },
        ...(typeof contextLength === 'number' && { contextLength }),
        hasAdapters: await has('/v1/unload_lora_adapter', 'POST', { lora_name: NOBODY }),
        hasPause: await has('/is_paused', 'GET'),
      };
      signal.throwIfAborted();
      return facts;
    },
    isHealthy: (signal = never()) => healthOf(endpoint, signal),
    async score(tokens, { adapter, signal = never() } = {}) {
      const body = { prompt: [tokens], max_tokens: 1, temperature: 0, prompt_logprobs: 0 };
      const model = adapter ?? (await baseName(signal));
      const answer = await endpoint.post('completions', { ...body, model }, signal);
      const choice: unknown = Array.isArray(answer.choices) ? answer.choices[0] : undefined;
      const places = isRecord(choice) ? choice.prompt_logprobs : undefined;
      const own = tokens.slice(1).map((id, t) => {
        const place: unknown = Array.isArray(places) ? places[t + 1] : undefined;
        const found = isRecord(place) ? place[String(id)] : undefined;
        return isRecord(found) ? found.logprob : undefined;
      });
      if (isNumbers(own)) return own;
      throw new EndpointError(
        `${WHERE}: ${name} gives no prompt_logprobs: ${excerpt(JSON.stringify(answer))}`,
        answered,
      );
    },
    async loadAdapter(adapter, folder, { version, signal = never() } = {}) {
      const body = { lora_name: adapter, lora_path: folder };
      const path = '/v1/load_lora_adapter';
      try {
        await endpoint.ask({
          method: 'POST',
          path,
          body: { ...body, ...(version && { weight_version: version }) },
          signal,
        });
      } catch (error) {
        if (!(error instanceof EndpointError)) throw error;
        const said = error.bodyExcerpt ?? '';
        // An answer that was lost: the name is of this run alone.
        if (/already been loaded/.test(said)) return;
        // vLLM ignores what it does not know; another may not.
        if (version === undefined || !/weight_version/.test(said)) throw error;
        await endpoint.ask({ method: 'POST', path, body, signal });
      }
    },
    async unloadAdapter(adapter, signal = never()) {
      await endpoint
        .ask({ method: 'POST', path: '/v1/unload_lora_adapter', body: { lora_name: adapter }, signal })
        .catch((error: unknown) => {
          if (!(error instanceof EndpointError) || error.status !== 404) throw error;
        });
    },
    async pause(mode, signal = never()) {
      await endpoint.ask({ method: 'POST', path: `/pause?mode=${mode}`, signal });
    },
    async resume(signal = never()) {
      await endpoint.ask({ method: 'POST', path: '/resume', signal });
    },
  };

  function sampleOf(choice: Record<string, unknown>, unusable: (what: string) => EndpointError): TokenSample {
    const { token_ids: tokenIds, logprobs, text: said, finish_reason: reason, weight_version: version } = choice;
    if (!isNumbers(tokenIds))
      throw unusable('has no token_ids; it must be a server with return_token_ids (vLLM from 0.10.2 on)');
    const found = isRecord(logprobs) ? logprobs.token_logprobs : undefined;
    // What a pause has ended before its first token.
    const logProbs = tokenIds.length === 0 ? [] : found;
    if (!isNumbers(logProbs) || logProbs.length !== tokenIds.length) {
      throw unusable('has not one of logprobs.token_logprobs for each of its tokens');
    }
    const finishReason = reason === 'stop' || reason === 'length' || reason === 'abort' ? reason : undefined;
    if (!finishReason) throw unusable(`has the finish_reason ${JSON.stringify(reason)}`);
    const weightVersion = typeof version === 'string' ? version : undefined;
    return {
      tokenIds,
      logProbs,
      text: String(said),
      finishReason,
      ...(weightVersion !== undefined && { weightVersion }),
    };
  }
}

/** Whether a server answers `/health`. */
export async function healthOf(endpoint: ReturnType<typeof createEndpoint>, signal: AbortSignal): Promise<boolean> {
  try {
    await endpoint.ask({ method: 'GET', path: '/health', signal, retries: 0 });
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

export const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((x) => typeof x === 'number' && Number.isFinite(x));

/** A signal that never fires. */
export const never = (): AbortSignal => new AbortController().signal;

/** The JSON object of an answer; an empty one where it is none. */
export function record(answer: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(answer);
    return isRecord(body) ? body : {};
  } catch {
    return {};
  }
}

/** The last part of the base: `/v1`. */
const versionOf = (baseURL: string): string => /\/v\d+(?=\/*$)/.exec(new URL(baseURL).pathname)?.[0] ?? '';
