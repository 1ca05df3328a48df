import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ApiError } from './api-error.js';

/**
 * Origin check (CORS, DNS rebinding): a web page without permission must not use a server on its visitor's machine, by
 * any name.
 */
export function allowOrigin(request: IncomingMessage, response: ServerResponse, corsOrigin: string | undefined): void {
  const { origin } = request.headers;
  if (origin === undefined) return;
  if (corsOrigin !== '*' && corsOrigin !== origin) {
    throw new ApiError(403, 'Web pages of this origin may not use this server.', { apiCode: 'origin_not_allowed' });
  }
  response.setHeader('access-control-allow-origin', corsOrigin);
  response.setHeader('vary', 'origin');
  response.setHeader('access-control-allow-methods', 'GET, POST');
  const asked = request.headers['access-control-request-headers'];
  if (asked !== undefined) response.setHeader('access-control-allow-headers', asked);
}

/** Whether only this machine reaches the address that a server listens at. */
export const isLoopback = (address: string): boolean =>
  address === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(address);

/**
 * Refuses requests for another machine, which a browser sends when a name was made to point here (DNS rebinding): its page
 * counts as of one origin with the server, so that no Origin betrays it. A request of HTTP/1.0 may have no Host.
 *
 * @param allowed further names, without ports
 */
export function checkHost(host: string | undefined, allowed: readonly string[]): void {
  if (host === undefined) return;
  const name = host
    .trim()
    .toLowerCase()
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
  if (name === 'localhost' || name.endsWith('.localhost') || isLoopback(name)) return;
  if (allowed.some((one) => one.toLowerCase() === name)) return;
  const message = `This server is for its own machine and does not answer as '${host.slice(0, 100)}'. Name the host in allowedHosts (--allow-host) if it should.`;
  throw new ApiError(403, message, { apiCode: 'host_not_allowed' });
}

/** @throws ApiError 401 */
export function checkApiKey({ headers }: IncomingMessage, apiKey: string | undefined): void {
  if (apiKey === undefined) return;
  const given = /^Bearer\s+(.+)$/i.exec(headers.authorization ?? '')?.[1];
  const digest = (text: string) => createHash('sha256').update(text).digest();
  if (given !== undefined && timingSafeEqual(digest(given), digest(apiKey))) return;
  const message = given === undefined ? 'You did not provide an API key.' : 'Incorrect API key provided.';
  throw new ApiError(401, `${message} Send it in the header 'authorization: Bearer KEY'.`, {
    apiCode: 'invalid_api_key',
    headers: { 'www-authenticate': 'Bearer' },
  });
}
