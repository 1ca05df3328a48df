import {
  custom,
  excerpt,
  type Given,
  integer,
  OptionError,
  type Options,
  type Read,
  text,
} from '@posttrain/interfaces';
import { createLimiter, LONGEST_TIMER_MS, sleep, withDeadline } from '@posttrain/interfaces/concurrency';
import { answered, EndpointError } from './errors.js';

const isRecordOption = (value: unknown): boolean => isRecord(value);
const milliseconds = { max: LONGEST_TIMER_MS, decisive: false } as const;

/** How to reach an OpenAI-compatible endpoint. */
export const endpointShape = {
  /** Up to and including the version, for instance `http://127.0.0.1:8000/v1`. A query string is kept. */
  baseURL: text({}),
  /** Sent as `Authorization: Bearer …` and nowhere else; taken out of every error message. */
  apiKey: text({ optional: true, decisive: false, secret: true }),
  model: text({}),
  /** Further headers, for instance an organisation. */
  headers: custom<Readonly<Record<string, string>>>()('an object of texts', isRecordOption, {
    optional: true,
    secret: true,
  }),
  /** Further fields of every request's body, for what a server adds to the protocol; fields sent anyway win. */
  extraBody: custom<Readonly<Record<string, unknown>>>()('an object', isRecordOption, { optional: true }),
  /** Requests in flight at a time, over all calls. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
  /** Milliseconds for one attempt, from connecting to the end of the body. Default 120 000. */
  timeoutMs: integer({ default: 120_000, min: 1, ...milliseconds }),
  /** Further attempts after a network error, a time-out or status 408, 429 or 5xx. Default 4. */
  maxRetries: integer({ default: 4, min: 0, decisive: false }),
  /**
   * Milliseconds before the first retry; doubled for each further one up to 30 s, less a random part of at most half.
   * A `Retry-After` of the server is obeyed instead; one of more than a minute is an error. Default 500.
   */
  retryDelayMs: integer({ default: 500, min: 0, ...milliseconds }),
  /** Most bytes of an answer; a longer one is an error, and the rest of it is not waited for. Default 2^28. */
  maxAnswerBytes: integer({ default: 2 ** 28, min: 1, decisive: false }),
};

/** Options of everything that speaks to an endpoint. */
export type EndpointOptions = Given<Options<typeof endpointShape>>;
export type EndpointSettings = Read<Options<typeof endpointShape>>;

const LONGEST_DELAY_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 60_000;
const EXCERPT_LENGTH = 500;

export interface Endpoint {
  /** Posts `body` as JSON to `baseURL/path` and returns the parsed answer. Throws `EndpointError`. */
  post(path: string, body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Record<string, unknown>>;
  /** Any other request, whose answer is given as text: what controls a server waits for no completions. Throws `EndpointError`. */
  ask(request: ControlRequest): Promise<string>;
}

/** A request about the server and not to its model. */
interface ControlRequest {
  readonly method: 'GET' | 'POST';
  /** From the root of the server: `/pause?mode=keep`. */
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
  /** Further attempts. Default: those of the endpoint. */
  readonly retries?: number;
}

/** What one attempt came to: an answer, or a failure that another attempt may mend. */
type Attempt =
  | { readonly text: string }
  | { readonly failure: EndpointError; readonly retryAfterMs: number | undefined };

export function createEndpoint(where: string, options: EndpointSettings): Endpoint {
  const { apiKey, concurrency, timeoutMs, maxRetries, retryDelayMs, maxAnswerBytes } = options;
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', where, option, problem);
  if (options.model === '') throw wrong('model', 'model is empty.');
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw wrong('apiKey', 'apiKey has spaces, line breaks or other characters no header can carry.');
  }
  const base = parsedBase(options.baseURL, wrong);
  const limit = createLimiter(concurrency);
  const headers = {
    ...options.headers,
    'content-type': 'application/json',
    accept: 'application/json',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  };
  const redact = (text: string) => (apiKey === undefined ? text : text.replaceAll(apiKey, '[API key]'));

  const tooLong = new Error('the answer is too long');
  /** The body as text. A server that never ends it would fill the memory. */
  const textOf = async ({ body }: Response): Promise<string> => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    const reader = body?.getReader();
    for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
      length += read.value.length;
      chunks.push(read.value);
      if (length <= maxAnswerBytes) continue;
      await reader!.cancel();
      throw tooLong;
    }
    return new TextDecoder().decode(joined(chunks, length));
  };

  const attempt = async (
    method: string,
    url: URL,
    payload: string | undefined,
    signal: AbortSignal,
  ): Promise<Attempt> => {
    const at = `${method} ${url.origin}${url.pathname}`;
    const timeoutError = () => new EndpointError(`${at}: no complete answer within ${timeoutMs} ms.`);
    let status: number;
    let responseHeaders: Headers;
    let text: string;
    try {
      [status, responseHeaders, text] = await withDeadline(
        async (deadline) => {
          const response = await fetch(url, {
            method,
            headers,
            ...(payload !== undefined && { body: payload }),
            signal: deadline,
            redirect: 'manual',
          });
          return [response.status, response.headers, await textOf(response)] as const;
        },
        { signal, timeoutMs, timeoutError },
      );
    } catch (error) {
      signal.throwIfAborted();
      if (error === tooLong) {
        const bound = `the answer has more than ${maxAnswerBytes} bytes (maxAnswerBytes); ask for less at a time, or raise it`;
        throw new EndpointError(`${at}: ${bound}.`, answered);
      }
      if (error instanceof EndpointError) return { failure: error, retryAfterMs: undefined };
      const failure = new EndpointError(`${at}: ${redact(networkReason(error))}.`, { cause: error });
      return { failure, retryAfterMs: undefined };
    }
    const bodyExcerpt = excerpt(redact(text), EXCERPT_LENGTH);
    const details = { status, bodyExcerpt };
    if (status >= 300 && status < 400) {
      const target = redact(responseHeaders.get('location') ?? 'nowhere').split('?')[0];
      throw new EndpointError(
        `${at}: status ${status}, redirected to ${target}; set baseURL to where it leads.`,
        details,
      );
    }
    if (status < 200 || status >= 300) {
      const failure = new EndpointError(`${at}: status ${status}: ${bodyExcerpt || '(empty body)'}`, details);
      if (status !== 408 && status !== 429 && status < 500) throw failure;
      return { failure, retryAfterMs: retryAfter(responseHeaders) };
    }
    return { text };
  };

  const parsed = (url: URL, text: string): Record<string, unknown> => {
    const at = `POST ${url.origin}${url.pathname}`;
    const bodyExcerpt = excerpt(redact(text), EXCERPT_LENGTH);
    const details = { status: 200, bodyExcerpt };
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch (cause) {
      throw new EndpointError(`${at}: the answer is not JSON: ${bodyExcerpt || '(empty body)'}`, { ...details, cause });
    }
    if (!isRecord(body)) throw new EndpointError(`${at}: the answer is not a JSON object: ${bodyExcerpt}`, details);
    if (body.error) throw new EndpointError(`${at}: status 200 with an error: ${bodyExcerpt}`, details);
    return body;
  };

  const send = async (
    method: string,
    url: URL,
    payload: string | undefined,
    signal: AbortSignal,
    retries = maxRetries,
  ): Promise<string> => {
    for (let attempts = 1; ; attempts++) {
      signal.throwIfAborted();
      const result = await attempt(method, url, payload, signal);
      if ('text' in result) return result.text;
      const { failure, retryAfterMs } = result;
      const { status, bodyExcerpt, cause } = failure;
      const details = {
        ...(status === undefined ? {} : { status }),
        ...(bodyExcerpt === undefined ? {} : { bodyExcerpt }),
        cause,
      };
      if (attempts > retries) {
        const count = attempts === 1 ? '' : ` (after ${attempts} attempts)`;
        throw new EndpointError(`${failure.message}${count}`, details);
      }
      if (retryAfterMs !== undefined && retryAfterMs > LONGEST_RETRY_AFTER_MS) {
        const seconds = Math.ceil(retryAfterMs / 1000);
        throw new EndpointError(`${failure.message} (the server asks to wait ${seconds} s; not waiting)`, details);
      }
      const backoff = Math.min(LONGEST_DELAY_MS, retryDelayMs * 2 ** (attempts - 1)) * (1 - Math.random() / 2);
      await sleep(retryAfterMs ?? backoff, signal);
    }
  };

  return {
    post: (path, body, signal) => {
      const url = new URL(base);
      url.pathname = `${base.pathname.replace(/\/+$/, '')}/${path}`;
      const payload = JSON.stringify({ ...options.extraBody, model: options.model, ...body });
      return limit(async () => parsed(url, await send('POST', url, payload, signal)));
    },
    ask: ({ method, path, body, signal, retries }) => {
      const [pathname, query = ''] = path.split('?', 2) as [string, string?];
      const url = new URL(base);
      url.pathname = `${rootOf(base)}${pathname}`;
      url.search = query;
      return send(method, url, body && JSON.stringify(body), signal, retries);
    },
  };
}

/** Where the paths of a server begin that are of no version of the API. */
const rootOf = ({ pathname }: URL): string => pathname.replace(/\/+$/, '').replace(/\/v\d+$/, '');

function parsedBase(baseURL: string, wrong: (option: string, problem: string) => OptionError): URL {
  let url: URL;
  try {
    url = new URL(baseURL);
  } catch {
    throw wrong('baseURL', 'baseURL is not a URL; it looks like http://127.0.0.1:8000/v1.');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw wrong('baseURL', `baseURL must begin with http:// or https://, not ${url.protocol}`);
  }
  if (url.username || url.password) {
    throw wrong('baseURL', 'baseURL must not carry a user or password; use apiKey or headers.');
  }
  return url;
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Milliseconds from `Retry-After` (seconds or a date); `undefined` without one that can be read. */
function retryAfter(headers: Headers): number | undefined {
  const value = headers.get('retry-after');
  if (value === null) return undefined;
  const milliseconds = /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}

/** `fetch` hides the reason of a network error in `cause`. */
function networkReason(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error && parts.length < 3; at = at.cause) {
    const code = 'code' in at && typeof at.code === 'string' && !at.message.includes(at.code) ? ` (${at.code})` : '';
    parts.push(`${at.message}${code}`);
  }
  return parts.length > 0 ? parts.join(': ') : String(error);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
