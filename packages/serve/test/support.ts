import { onTestFinished } from 'vitest';
import {
  type CompletionRequest,
  createServer,
  type LocalModel,
  type ServedModel,
  type ServeOptions,
} from '../src/index.js';

/** A model whose answer is scripted: its text, a few letters a token. */
export function scriptedModel(
  answer: (request: CompletionRequest, prompt: string) => string,
  overrides: Partial<ServedModel> & { readonly delay?: (signal: AbortSignal) => Promise<unknown> } = {},
): LocalModel {
  const { delay = () => new Promise((resolve) => setImmediate(resolve)), ...rest } = overrides;
  const encode = (text: string) => Array.from(Buffer.from(text, 'utf8'));
  return {
    contextLength: 4096,
    vocabularySize: 256,
    tokenize: encode,
    chat: {
      toolFormat: 'tags',
      tokenize: ({ messages, tools = [] }) => encode(JSON.stringify({ messages, tools })),
    },
    async *complete(request) {
      const text = answer(request, Buffer.from(request.tokenIds).toString('utf8'));
      const pieces = text.match(/.{1,3}/gsu) ?? [''];
      const shown = pieces.slice(0, request.maxTokens);
      for (const [i, piece] of shown.entries()) {
        await delay(request.signal);
        if (request.signal.aborted) return;
        const last = i === shown.length - 1;
        const alternatives = Array.from({ length: request.topLogProbs ?? 0 }, (_, j) => ({
          token: `${j}`,
          logProb: -j,
        }));
        yield {
          text: piece,
          ...(request.topLogProbs === undefined ? {} : { logProb: { token: piece, logProb: -0.5, alternatives } }),
          finishReason: last ? (shown.length < pieces.length ? 'length' : 'stop') : undefined,
        };
      }
    },
    ...rest,
  };
}

/** A running server that ends with the test; gives its address. */
export async function serve(models: Readonly<Record<string, ServedModel>>, options: ServeOptions = {}) {
  const failures: unknown[] = [];
  const server = createServer(models, { onError: (error) => failures.push(error), ...options });
  const url = await server.listen({ port: 0 });
  onTestFinished(() => server.drain({ deadline: 0 }));
  return { server, url, failures };
}

export const postJson = (url: string, body: unknown, init: RequestInit = {}): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers },
  });
