import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import {
  boolean,
  custom,
  type Given,
  integer,
  listOf,
  options,
  PosttrainError,
  type Read,
  text,
} from '@posttrain/interfaces';
import { LONGEST_TIMER_MS } from '@posttrain/interfaces/concurrency';
import type { JsonObject } from '@posttrain/lm';
import { allowOrigin, checkApiKey, checkHost, isLoopback } from './access.js';
import { loadLoraAdapter, unloadLoraAdapter } from './adapters-endpoint.js';
import { ApiError, toApiError } from './api-error.js';
import { chatCompletions } from './chat-endpoint.js';
import { completions } from './completions-endpoint.js';
import { embeddings } from './embeddings-endpoint.js';
import { inferenceGenerate } from './inference-generate.js';
import { Metrics } from './metrics.js';
import { ModelRegistry } from './model-registry.js';
import { continueGeneration, isPaused, pause, pauseGeneration, resume } from './pause-endpoint.js';
import { Pauses } from './pauses.js';
import { readJsonBody } from './read-body.js';
import type { Reply } from './reply.js';
import type { RequestContext } from './run-completions.js';
import type { ServedModel } from './served-model.js';
import { modelInfo, sglangGenerate } from './sglang-generate.js';
import { Slots } from './slots.js';

const serveOptions = options('createServer', {
  /** Clients must send it as `Authorization: Bearer …`. Default: none needed. */
  apiKey: custom<string>()('a text that is not empty', (value) => typeof value === 'string' && value !== '', {
    optional: true,
    secret: true,
    hint: (value) => (value === '' ? 'The apiKey is empty; leave it out to need none.' : undefined),
  }),
  /** Concurrency limit: completions generated at once; `n` counts n times. Default 64. */
  maxConcurrent: integer({ default: 64, min: 1 }),
  /** Queue length: requests that wait; one more is answered with 429. Default 256. */
  maxQueue: integer({ default: 256, min: 0 }),
  /** Most tokens that a request may ask for in one completion. Default: the model's context. */
  maxTokens: integer({ optional: true, min: 1 }),
  /**
   * Most bytes of a prompt, in UTF-8: a longer one is refused before time is spent on its tokens. Default: 32 for each token
   * of the model's context, but 16 KiB at least.
   */
  maxPromptBytes: integer({ optional: true, min: 1 }),
  /** Largest body of a request. Default 4 MiB. */
  maxBodyBytes: integer({ default: 4 * 2 ** 20, min: 1 }),
  /** Deadline of an answer in milliseconds, queueing included. Default 10 minutes. */
  requestTimeout: integer({ default: 600_000, min: 1, max: LONGEST_TIMER_MS }),
  /** Deadline of receiving a request, in milliseconds. Default 30 seconds. */
  receiveTimeout: integer({ default: 30_000, min: 1, max: LONGEST_TIMER_MS }),
  /** The origin of web pages that may use the server, or `*`. Default: none. */
  corsOrigin: text({ optional: true }),
  /**
   * Names that requests may reach the server by, beside `localhost` and loopback addresses: others are refused while it
   * listens on a loopback address only, and wherever it listens once there is a list. Default: none.
   */
  allowedHosts: listOf(text({}), { optional: true }),
  /**
   * The folder whose adapters clients may load and unload by name while it runs (vLLM's `/v1/load_lora_adapter`); a path that leads out
   * of it is refused, through links too. Who may use the server may then change what it serves. Default: none may.
   */
  adapterFolder: text({ optional: true }),
  /** Adapters that are served at once, those it was started with among them; one more is refused. Default 64. */
  maxAdapters: integer({ default: 64, min: 1 }),
  /**
   * Whether clients may pause the server and let it go on (vLLM's `/pause`, SGLang's `/pause_generation`), for everyone who uses it.
   * Default false.
   */
  allowPause: boolean({ default: false }),
  /** Told of errors that are the server's own fault; clients see no details. Default: printed to stderr. */
  onError: custom<(error: unknown) => void>()('a function', (value) => typeof value === 'function', { optional: true }),
});
/** Options of `serve`. */
export type ServeOptions = Given<typeof serveOptions>;

const listenOptions = options('listen', {
  /** Default 8000; 0 takes any free one. */
  port: integer({ default: 8000, min: 0, max: 65_535 }),
  /** Default 127.0.0.1: this machine only. */
  host: text({ default: '127.0.0.1' }),
});
/** Where a server listens. */
export type ListenOptions = Given<typeof listenOptions>;

type Endpoint = (body: JsonObject, context: RequestContext) => Promise<Reply> | Reply;

const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': chatCompletions,
  '/v1/completions': completions,
  '/v1/embeddings': embeddings,
  '/v1/load_lora_adapter': loadLoraAdapter,
  '/v1/unload_lora_adapter': unloadLoraAdapter,
  // vLLM's, of token ids only.
  '/inference/v1/generate': inferenceGenerate,
  // SGLang's.
  '/generate': sglangGenerate,
  '/load_lora_adapter': loadLoraAdapter,
  '/unload_lora_adapter': unloadLoraAdapter,
  '/pause_generation': pauseGeneration,
  '/continue_generation': continueGeneration,
};

/** What is said in the address; a body is not read. */
type Control = (query: URLSearchParams, context: RequestContext) => Promise<Reply> | Reply;

const CONTROLS: Readonly<Record<string, { readonly method: 'GET' | 'POST'; readonly run: Control }>> = {
  '/pause': { method: 'POST', run: pause },
  '/resume': { method: 'POST', run: resume },
  '/is_paused': { method: 'GET', run: isPaused },
  '/model_info': { method: 'GET', run: modelInfo },
};

/** The client has disconnected. */
class ClientGoneError extends PosttrainError {
  constructor() {
    super('CLIENT_GONE', 'the client closed the connection before its answer was complete');
  }
}

/** An OpenAI-compatible server for models by name. Nothing runs before `listen`. */
export function createServer(models: Readonly<Record<string, ServedModel>>, options: ServeOptions = {}): ModelServer {
  return new ModelServer(models, options);
}

/** A running server. */
export class ModelServer {
  readonly #models: ModelRegistry;
  readonly #settings: Read<typeof serveOptions>;
  readonly #http: Server;
  readonly #slots: Slots;
  readonly #pauses: Pauses;
  readonly #metrics: Metrics;
  readonly #running = new Set<AbortController>();
  #draining = false;
  #checksHost = false;

  constructor(models: Readonly<Record<string, ServedModel>>, given: ServeOptions = {}) {
    const settings = serveOptions.read(given);
    const { maxConcurrent, maxQueue, receiveTimeout, adapterFolder, maxAdapters, allowPause } = settings;
    this.#models = new ModelRegistry(models, { adapterFolder, maxAdapters });
    this.#settings = settings;
    this.#slots = new Slots(maxConcurrent, maxQueue);
    this.#pauses = new Pauses(this.#models, allowPause);
    this.#metrics = new Metrics(this.#slots);
    this.#http = createHttpServer(
      {
        requestTimeout: receiveTimeout,
        headersTimeout: receiveTimeout,
        connectionsCheckingInterval: Math.min(5000, receiveTimeout),
      },
      (request, response) => void this.#handle(request, response),
    );
    this.#http.on('clientError', refuseConnection);
  }

  /** Starts to answer; gives the address. @throws PosttrainError LISTEN: the port is in use, the address is not this machine's */
  async listen(given: ListenOptions = {}): Promise<string> {
    const { port, host } = listenOptions.read(given);
    return new Promise((resolve, reject) => {
      const refuse = (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port));
      this.#http.once('error', refuse);
      this.#http.listen(port, host, () => {
        this.#http.off('error', refuse);
        const { address, port: bound, family } = this.#http.address() as AddressInfo;
        this.#checksHost = isLoopback(address) || this.#settings.allowedHosts !== undefined;
        resolve(`http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`);
      });
    });
  }

  /**
   * Graceful shutdown: takes no new requests, finishes those that it has (waiting ones too), and after `deadline`
   * milliseconds ends what is left with an error. Default 30 seconds.
   */
  async drain({ deadline = 30_000 }: { readonly deadline?: number } = {}): Promise<void> {
    this.#draining = true;
    this.#pauses.resume();
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    this.#http.closeIdleConnections();
    const timer = setTimeout(() => {
      for (const controller of this.#running) controller.abort(shuttingDown());
      // Time for the errors to reach the clients.
      setTimeout(() => this.#http.closeAllConnections(), 1000).unref();
    }, deadline);
    await closed;
    clearTimeout(timer);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const { path, query, host } = targetOf(request);
    const route = ROUTES.includes(path) ? path : 'other';
    const controller = new AbortController();
    this.#running.add(controller);
    const { requestTimeout } = this.#settings;
    const late = () =>
      controller.abort(new ApiError(504, `No answer within ${requestTimeout} ms.`, { apiCode: 'timeout' }));
    const timer = setTimeout(late, requestTimeout);
    response.once('close', () => {
      if (!response.writableFinished) controller.abort(new ClientGoneError());
    });
    // Keep-alive: an idle connection must not hold up a drain.
    response.once('finish', () => this.#draining && setImmediate(() => this.#http.closeIdleConnections()));
    try {
      if (this.#checksHost) checkHost(host, this.#settings.allowedHosts ?? []);
      allowOrigin(request, response, this.#settings.corsOrigin);
      if (request.method === 'OPTIONS') response.writeHead(204, { allow: allowedMethods(path) }).end();
      else await this.#answer(request, response, { path, query }, controller.signal);
    } catch (error) {
      this.#fail(response, error);
    } finally {
      clearTimeout(timer);
      this.#running.delete(controller);
      this.#metrics.requests.inc({ route, status: response.statusCode });
      this.#metrics.requestSeconds.observe({ route }, (performance.now() - started) / 1000);
    }
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    { path, query }: Pick<Target, 'path' | 'query'>,
    signal: AbortSignal,
  ): Promise<void> {
    const allowed = allowedMethods(path);
    if (!allowed.split(', ').includes(request.method ?? '')) throw wrongMethod(request, path, allowed);
    if (path === '/health') {
      if (this.#draining) throw shuttingDown();
      return sendJson(response, 200, { status: 'ok' });
    }
    checkApiKey(request, this.#settings.apiKey);
    const control = Object.hasOwn(CONTROLS, path) ? CONTROLS[path] : undefined;
    if (control || Object.hasOwn(ENDPOINTS, path)) {
      if (this.#draining) throw shuttingDown();
      const { maxTokens = Infinity, maxPromptBytes, maxBodyBytes } = this.#settings;
      const shared = { models: this.#models, slots: this.#slots, pauses: this.#pauses, metrics: this.#metrics };
      const context = { ...shared, maxTokens, maxPromptBytes, signal };
      const reply = control
        ? await control.run(new URLSearchParams(query), context)
        : await ENDPOINTS[path]!(await readJsonBody(request, maxBodyBytes), context);
      if (reply.kind === 'json') return sendJson(response, 200, reply.body);
      if (reply.kind === 'text') return void response.writeHead(200, { 'content-type': 'text/plain' }).end(reply.text);
      if (reply.kind === 'pieces') return sendPieces(response, reply.pieces);
      return sendEvents(response, reply.events);
    }
    if (path === '/metrics') {
      const text = await this.#metrics.registry.metrics();
      response.writeHead(200, { 'content-type': this.#metrics.registry.contentType }).end(text);
    } else if (path !== '/v1/models') sendJson(response, 200, this.#models.card(modelName(path)));
    else
      sendJson(response, 200, { object: 'list', data: [...this.#models.names].map((name) => this.#models.card(name)) });
  }

  #fail(response: ServerResponse, error: unknown): void {
    if (error instanceof ClientGoneError || response.destroyed) {
      this.#metrics.disconnects.inc();
      response.destroy();
      return;
    }
    const failure = toApiError(error);
    if (failure.status === 500) (this.#settings.onError ?? console.error)(failure.cause ?? failure);
    // The answer has begun: the error is its last event, and there is no [DONE].
    if (response.headersSent) response.end(`data: ${JSON.stringify(failure.body)}\n\n`);
    else sendJson(response, failure.status, failure.body, failure.headers);
  }
}

const ROUTES: readonly string[] = [
  ...Object.keys(ENDPOINTS),
  ...Object.keys(CONTROLS),
  '/v1/models',
  '/health',
  '/metrics',
];

/** @throws ApiError 404 for an address that there is not */
function allowedMethods(path: string): string {
  const isPost = Object.hasOwn(ENDPOINTS, path) || (Object.hasOwn(CONTROLS, path) && CONTROLS[path]!.method === 'POST');
  if (isPost) return 'POST, OPTIONS';
  if (ROUTES.includes(path) || path.startsWith('/v1/models/')) return 'GET, HEAD, OPTIONS';
  if (path === '*') return 'GET, HEAD, POST, OPTIONS';
  throw new ApiError(404, `Unknown request URL: ${path.slice(0, 200)}.`, { apiCode: 'unknown_url' });
}

/** What a request is for: a proxy names the host with the path, and then the header says nothing. */
function targetOf({ url = '', headers }: IncomingMessage): Target {
  const absolute = /^https?:\/\/([^/?#]*)([^?#]*)\??([^#]*)/i.exec(url);
  if (absolute) return { path: absolute[2] || '/', query: absolute[3]!, host: absolute[1]! };
  const [path] = url.split('?', 1) as [string];
  return { path, query: url.slice(path.length + 1), host: headers.host };
}

interface Target {
  readonly path: string;
  readonly query: string;
  readonly host: string | undefined;
}

function modelName(path: string): string {
  const name = path.slice('/v1/models/'.length);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function cannotListen(cause: NodeJS.ErrnoException, host: string, port: number): PosttrainError {
  const problems: Readonly<Record<string, string>> = {
    EADDRINUSE: `the port ${port} of ${host} is in use; choose another one (--port; 0 takes any free one)`,
    EACCES: `the port ${port} needs rights that this process lacks; choose one from 1024 on (--port)`,
    EADDRNOTAVAIL: `${host} is no address of this machine; choose another one (--host)`,
    ENOTFOUND: `there is no host ${host}; choose another one (--host)`,
  };
  return new PosttrainError('LISTEN', `listen: ${problems[cause.code ?? ''] ?? cause.message}`, { cause });
}

const shuttingDown = (): ApiError =>
  new ApiError(503, 'The server is shutting down.', { apiCode: 'shutting_down', headers: { 'retry-after': '5' } });

const wrongMethod = ({ method }: IncomingMessage, path: string, allowed: string): ApiError =>
  new ApiError(405, `Not allowed to ${method} on ${path.slice(0, 200)}. Use ${allowed.split(', ', 1)}.`, {
    apiCode: 'method_not_supported',
    headers: { allow: allowed },
  });

function sendJson(
  response: ServerResponse,
  status: number,
  body: JsonObject,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = JSON.stringify(body);
  const length = Buffer.byteLength(text);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': length, ...headers }).end(text);
}

async function sendPieces(response: ServerResponse, pieces: readonly Buffer[]): Promise<void> {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
  for (const piece of pieces) if (!response.write(piece)) await drained(response);
  response.end();
}

/** Server-sent events. The head is sent with the first event, so that what fails before it has a status of its own. */
async function sendEvents(response: ServerResponse, events: AsyncGenerator<JsonObject>): Promise<void> {
  for await (const event of events) {
    if (!response.headersSent) {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    }
    if (!response.write(`data: ${JSON.stringify(event)}\n\n`)) await drained(response);
  }
  response.end('data: [DONE]\n\n');
}

/** Backpressure: waits for a slow reader; a disconnect fires the request's signal. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed) return resolve();
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

/** What is not HTTP, or did not arrive in time. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ['408 Request Timeout', 'The request did not arrive in time.']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', 'The headers are too large.']
        : ['400 Bad Request', 'This is not an HTTP request.'];
  const body = JSON.stringify(new ApiError(Number.parseInt(status, 10), message).body);
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`);
}
