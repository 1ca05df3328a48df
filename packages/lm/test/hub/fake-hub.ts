import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeFile {
  readonly content: Buffer;
  readonly lfs?: boolean;
}

/** How the fake hub misbehaves for one path. */
export interface Fault {
  /** Close the connection after this many bytes of a body, this many times. */
  dropAfter?: number;
  drops?: number;
  /** Send these bytes instead of the file's. */
  content?: Buffer;
  status?: number;
  /** Answer a range request with the whole file, as some proxies do. */
  ignoreRange?: boolean;
}

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** The endpoints of the hub that a download uses, on 127.0.0.1. */
export class FakeHub {
  readonly files: Record<string, FakeFile>;
  readonly faults: Record<string, Fault> = {};
  readonly requests: { path: string; range: string | undefined; authorization: string | undefined }[] = [];
  /** When set, every request without this token is refused. */
  requiredToken: string | undefined;
  gatedStatus = 401;
  sha: string = COMMIT;
  endpoint = '';
  readonly #name: string;
  readonly #server = createServer((request, response) => this.#answer(request, response));

  constructor(name: string, files: Record<string, FakeFile>) {
    this.#name = name;
    this.files = files;
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.endpoint = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Ranges of a large file that were asked for. */
  downloads(path: string): string[] {
    const wanted = this.requests.filter((request) => request.path === `/cdn/${path}`);
    return wanted.map(({ range }) => range ?? 'whole');
  }

  #answer(request: IncomingMessage, response: ServerResponse): ServerResponse {
    const asked = decodeURIComponent(new URL(request.url!, 'http://x').pathname);
    // A data set of the same name has the same files.
    const path = asked.replace(/^\/api\/datasets\//, '/api/models/').replace(/^\/datasets\//, '/');
    const { range, authorization } = request.headers;
    this.requests.push({ path: asked, range, authorization });
    if (this.requiredToken !== undefined && authorization !== `Bearer ${this.requiredToken}`) {
      return json(response, this.gatedStatus, { error: 'Access to model is restricted' });
    }
    if (path === `/api/models/${this.#name}/revision/main` || path === `/api/models/${this.#name}/revision/refs/pr/1`) {
      return json(response, 200, { _id: 'x', id: this.#name, sha: this.sha, private: false, lastModified: 0 });
    }
    if (path === `/api/models/${this.#name}/tree/${COMMIT}`) return json(response, 200, this.#tree());
    if (path.startsWith('/cdn/')) return this.#send(path.slice('/cdn/'.length), range, response);
    const file = path.startsWith(`/${this.#name}/resolve/${COMMIT}/`) ? path.split('/').slice(5).join('/') : '';
    const { content, lfs } = this.files[file] ?? {};
    // Large files are announced for the Xet protocol to who asks for it, and else redirected to another address.
    if (content && lfs && request.headers.accept?.includes('xet-fileinfo')) return this.#announce(content, response);
    if (content && lfs) return response.writeHead(302, { location: `/cdn/${file}` }).end();
    if (content) return this.#send(file, range, response);
    return json(response, 404, { error: 'Repository not found' });
  }

  #announce(content: Buffer, response: ServerResponse): ServerResponse {
    const link = ['xet-auth', 'xet-reconstruction-info'].map((rel) => `<${this.endpoint}/xet/${rel}>; rel="${rel}"`);
    response.writeHead(200, {
      'content-type': 'application/vnd.xet-fileinfo+json',
      etag: '"etag"',
      'x-linked-size': content.length,
      'x-xet-hash': 'a'.repeat(64),
      link: link.join(', '),
    });
    return response.end('{}');
  }

  #tree(): unknown[] {
    const folders = [{ type: 'directory', oid: '0'.repeat(40), size: 0, path: 'onnx' }];
    const files = Object.entries(this.files).map(([path, { content, lfs }]) => {
      const git = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      const sha256 = createHash('sha256').update(content).digest('hex');
      const pointer = lfs ? { lfs: { oid: sha256, size: content.length, pointerSize: 130 } } : {};
      return { type: 'file', oid: lfs ? 'f'.repeat(40) : git, size: content.length, path, ...pointer };
    });
    return [...folders, ...files];
  }

  #send(name: string, range: string | undefined, response: ServerResponse): ServerResponse {
    const fault = this.faults[name] ?? {};
    if (fault.status !== undefined) return json(response, fault.status, { error: 'broken' });
    const content = fault.content ?? this.files[name]!.content;
    const isProbe = range === 'bytes=0-0';
    const match = isProbe || !fault.ignoreRange ? /^bytes=(\d+)-(\d+)$/.exec(range ?? '') : null;
    const [start, end] = match
      ? [Number(match[1]), Math.min(Number(match[2]), content.length - 1)]
      : [0, content.length - 1];
    const body = content.subarray(start, end + 1);
    response.writeHead(match ? 206 : 200, {
      etag: '"etag"',
      'content-length': body.length,
      ...(match ? { 'content-range': `bytes ${start}-${end}/${content.length}` } : {}),
    });
    if (!isProbe && fault.dropAfter !== undefined && (fault.drops ?? 0) > 0) {
      fault.drops!--;
      response.write(body.subarray(0, fault.dropAfter), () => setImmediate(() => response.destroy()));
      return response;
    }
    return response.end(body);
  }
}

function json(response: ServerResponse, status: number, body: unknown): ServerResponse {
  response.writeHead(status, { 'content-type': 'application/json' });
  return response.end(JSON.stringify(body));
}
