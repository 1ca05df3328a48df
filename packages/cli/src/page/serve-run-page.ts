import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { renderReport } from '@posttrain/eval';
import { PosttrainError } from '@posttrain/interfaces';
import { readRun, stateOf } from './read-run.js';
import { runReport } from './run-report.js';

/** A page that is served. */
export interface ServedPage {
  readonly address: string;
  close(): Promise<void>;
}

const LOOPBACK = '127.0.0.1';

/**
 * Serves the page of a run, made anew from what is on disk whenever it is asked for and something has changed. It listens to this machine only, and
 * answers no request under the name of another (DNS rebinding), nor any but GET and HEAD for the page.
 *
 * @param port 0 for any that is free
 * @throws PosttrainError PORT where it is taken
 */
export async function serveRunPage(folder: string, others: readonly string[] = [], port = 0): Promise<ServedPage> {
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      // What cannot be read now, in the middle of a write or before the first step, may be readable the next time.
      send(response, 503, error instanceof Error ? error.message : String(error));
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { port: own } = server.address() as AddressInfo;
    const host = request.headers.host ?? '';
    if (![`${LOOPBACK}:${own}`, `localhost:${own}`].includes(host.toLowerCase())) {
      return send(response, 403, `This page is for its own machine, and not under the name ${host.slice(0, 100)}.`);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'The page can be read only.');
    if (new URL(request.url ?? '/', `http://${host}`).pathname !== '/')
      return send(response, 404, 'There is one page: /.');
    const states = await Promise.all([folder, ...others].map(stateOf));
    const tag = `"${Buffer.from(states.join('|')).toString('base64url')}"`;
    if (request.headers['if-none-match'] === tag) {
      response.writeHead(304, { ETag: tag }).end();
      return;
    }
    const [run, ...compared] = await Promise.all([folder, ...others].map(readRun));
    const page = renderReport(runReport(run!, compared), { live: true });
    send(response, 200, request.method === 'HEAD' ? '' : page, {
      'Content-Type': 'text/html; charset=utf-8',
      ETag: tag,
    });
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new PosttrainError('PORT', `the page cannot be served at port ${port}: ${cause.message}; give another --port`, {
          cause,
        }),
      ),
    );
    server.listen(port, LOOPBACK, resolve);
  });
  return {
    address: `http://${LOOPBACK}:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) return;
  response.writeHead(status, {
    ...{
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    },
    ...{ 'Cross-Origin-Resource-Policy': 'same-origin', 'Referrer-Policy': 'no-referrer', ...headers },
  });
  response.end(body);
}
