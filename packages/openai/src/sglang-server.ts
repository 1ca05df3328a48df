import type { Given, TokenSample, TokenSampleRequest } from '@posttrain/interfaces';
import { options as declare, excerpt, type SamplerServer, text } from '@posttrain/interfaces';
import { createEndpoint, endpointShape, isRecord } from './endpoint.js';
import { answered, EndpointError, UnsupportedRequestError } from './errors.js';
import { requestFields } from './request-fields.js';
import { healthOf, isNumbers, never, record } from './vllm-server.js';

const WHERE = 'sglangServer';
const { model: _, baseURL: __, ...reachShape } = endpointShape;
const serverOptions = declare(WHERE, {
  ...reachShape,
  /** The root of the server: `http://127.0.0.1:30000`. */
  baseURL: text({}),
});
/** Options of `sglangServer`. */
export type SglangServerOptions = Given<typeof serverOptions>;

/** SGLang has seeds of 31 bits. */
const MOST_SEEDS = 2 ** 31;

/** The names of sampling parameters that are not those of the OpenAI API. */
const OTHER_NAMES: Readonly<Record<string, string>> = { max_tokens: 'max_new_tokens' };

/**
 * A server that speaks SGLang's protocol, as a sampler of a fleet: token ids go in and out of `/generate`, adapters come and go by
 * `/load_lora_adapter` (start it with `--enable-lora`), and `/pause_generation` stops it. Each sample is asked for with a seed of its own,
 * which the server heeds with `--enable-deterministic-inference`.
 *
 * Its log-probabilities are of the model's own distribution where the server does not say otherwise; a run compares them with its own.
 *
 * @throws OptionError before anything is sent; EndpointError, its `status` absent where no answer came; UnsupportedRequestError for the
 *   pause `wait`, which the protocol has not
 */
export function sglangServer(options: SglangServerOptions): SamplerServer {
  const settings = serverOptions.read(options);
  // The protocol names no model.
  const endpoint = createEndpoint(WHERE, { ...settings, model: 'default' });
  const { baseURL: name } = options;
  const generate = async (body: Record<string, unknown>, signal: AbortSignal): Promise<unknown> => {
    const answer = await endpoint.ask({
      method: 'POST',
      path: '/generate',
      body: { ...settings.extraBody, ...body },
      signal,
    });
    try {
      return JSON.parse(answer);
    } catch (cause) {
      throw new EndpointError(`${WHERE}: the answer of ${name} is not JSON: ${excerpt(answer)}`, {
        ...answered,
        cause,
      });
    }
  };
  const control = async (path: string, body: Record<string, unknown>, signal: AbortSignal) => {
    const answer = await endpoint.ask({ method: 'POST', path, body, signal });
    if (record(answer).success === false)
      throw new EndpointError(`${WHERE}: ${name}${path} failed: ${excerpt(answer)}`, answered);
  };

  const sample = async (request: TokenSampleRequest): Promise<readonly TokenSample[]> => {
    // The protocol cannot say what was begun: it goes on from the prompt with the seed of the request.
    const { prompt, n, seed, adapter, begun: _begun, signal = never(), ...sampling } = request;
    const fields = Object.entries(requestFields({ ...sampling, prompt: '' }, 'completions', 'max_tokens'));
    const parameters = Object.fromEntries(fields.map(([field, value]) => [OTHER_NAMES[field] ?? field, value]));
    const answer = await generate(
      {
        input_ids: Array.from({ length: n }, () => prompt),
        sampling_params: Array.from({ length: n }, (_, i) => ({
          ...parameters,
          sampling_seed: (seed + i) % MOST_SEEDS,
        })),
        return_logprob: true,
        ...(adapter !== undefined && { lora_path: adapter }),
      },
      signal,
    );
    const unusable = (what: string) =>
      new EndpointError(`${WHERE}: the answer of ${name} ${what}: ${excerpt(JSON.stringify(answer))}`, answered);
    const list = Array.isArray(answer) ? answer.filter(isRecord) : [];
    if (list.length !== n) throw unusable(`has ${list.length} completions where ${n} were asked for`);
    return list.map((one) => sampleOf(one, unusable));
  };

  return {
    name,
    sample,
    async probe(signal = never()) {
      const about = async (...paths: string[]): Promise<Record<string, unknown>> => {
        for (const path of paths) {
          const answer = await endpoint.ask({ method: 'GET', path, signal, retries: 0 }).catch(() => undefined);
          signal.throwIfAborted();
          if (answer !== undefined) return record(answer);
        }
        return {};
      };
      const info = await about('/server_info', '/get_server_info');
      const { model_path: path } = await about('/model_info', '/get_model_info');
      await sample({ prompt: [1, 2], n: 1, seed: 0, maxTokens: 1, signal });
      const { context_length: contextLength, version, enable_lora: hasLora } = info;
      return {
        kind: typeof version === 'string' ? `SGLang ${version}` : 'SGLang-compatible',
        model: String(path ?? 'default'),
        ...(typeof contextLength === 'number' && { contextLength }),
        hasAdapters: hasLora !== false,
        hasPause: true,
      };
    },
    isHealthy: (signal = never()) => healthOf(endpoint, signal),
    async score(tokens, { adapter, signal = never() } = {}) {
      const answer = await generate(
        {
          ...{ input_ids: tokens, sampling_params: { max_new_tokens: 1, temperature: 0 } },
          ...{ return_logprob: true, logprob_start_len: 0, ...(adapter !== undefined && { lora_path: adapter }) },
        },
        signal,
      );
      const meta = isRecord(answer) && isRecord(answer.meta_info) ? answer.meta_info : {};
      const places = pairsOf(meta.input_token_logprobs).slice(-tokens.length);
      const isOwn = places.length === tokens.length && places.every(([, id], t) => id === tokens[t]);
      const own = places.slice(1).map(([logProb]) => logProb);
      if (isOwn && isNumbers(own)) return own;
      throw new EndpointError(
        `${WHERE}: ${name} gives no input_token_logprobs: ${excerpt(JSON.stringify(answer))}`,
        answered,
      );
    },
    loadAdapter: (adapter, folder, { signal = never() } = {}) =>
      control('/load_lora_adapter', { lora_name: adapter, lora_path: folder }, signal),
    async unloadAdapter(adapter, signal = never()) {
      await control('/unload_lora_adapter', { lora_name: adapter }, signal).catch((error: unknown) => {
        const isGone = error instanceof EndpointError && (error.status === 404 || error.status === 400);
        if (!isGone) throw error;
      });
    },
    async pause(mode, signal = never()) {
      if (mode === 'wait') {
        throw new UnsupportedRequestError(
          `${WHERE}: the pause 'wait' cannot be asked of SGLang; take 'keep' or 'abort'.`,
        );
      }
      await control('/pause_generation', { mode: mode === 'keep' ? 'in_place' : 'abort' }, signal);
    },
    resume: (signal = never()) => control('/continue_generation', {}, signal),
  };

  function sampleOf(answer: Record<string, unknown>, unusable: (what: string) => EndpointError): TokenSample {
    const meta = isRecord(answer.meta_info) ? answer.meta_info : {};
    const pairs = pairsOf(meta.output_token_logprobs);
    const [logProbs, tokenIds] = [pairs.map(([logProb]) => logProb), pairs.map(([, id]) => id)];
    const isCounted = meta.completion_tokens === undefined || meta.completion_tokens === pairs.length;
    if (pairs.length === 0 || !isCounted || !isNumbers(logProbs) || !isNumbers(tokenIds)) {
      throw unusable('has not one of meta_info.output_token_logprobs for each of its tokens');
    }
    const reason = isRecord(meta.finish_reason) ? meta.finish_reason.type : undefined;
    const finishReason = reason === 'stop' || reason === 'length' || reason === 'abort' ? reason : undefined;
    if (!finishReason) throw unusable(`has the finish_reason ${JSON.stringify(meta.finish_reason)}`);
    const { weight_version: version } = meta;
    const said = String(answer.text ?? '');
    return {
      tokenIds,
      logProbs,
      text: said,
      finishReason,
      ...(typeof version === 'string' && { weightVersion: version }),
    };
  }
}

/** SGLang's `[log p, id, text]`. */
const pairsOf = (value: unknown): unknown[][] => (Array.isArray(value) ? value.filter(Array.isArray) : []);
