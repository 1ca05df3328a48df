import type { IncomingMessage } from 'node:http';
import { isJsonObject, type JsonObject } from '@posttrain/lm';
import { ApiError } from './api-error.js';
import { checkJsonSize } from './json-size.js';
import { Turns } from './turns.js';

/** The JSON object in a request's body. @throws ApiError 413, 415 or 400 */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<JsonObject> {
  const type = request.headers['content-type'] ?? '';
  // What a web page can send without asking (a form, plain text) is not this.
  if (!/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(type)) {
    throw new ApiError(415, "The body must be JSON, with the header 'content-type: application/json'.", {
      apiCode: 'unsupported_media_type',
    });
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  // Ending the loop must not end the connection, which is needed for the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  const text = utf8(Buffer.concat(chunks));
  const turns = new Turns();
  checkJsonSize(text);
  await turns.next();
  const body = parseJson(text);
  await turns.next();
  return body;
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ApiError(400, 'The body is not UTF-8.', { apiCode: 'invalid_json' }, { cause });
  }
}

/** @throws ApiError 400 */
function parseJson(text: string): JsonObject {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw new ApiError(400, 'The body is not JSON.', { apiCode: 'invalid_json' }, { cause });
  }
  if (isJsonObject(body)) return body;
  throw new ApiError(400, 'The body must be a JSON object.', { apiCode: 'invalid_json' });
}

const tooLarge = (maxBytes: number): ApiError =>
  new ApiError(413, `The body is larger than ${maxBytes} bytes.`, { apiCode: 'request_too_large' });
