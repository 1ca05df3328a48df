import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, sep } from 'node:path';
import { build } from 'esbuild';

const { resolve } = createRequire(import.meta.url);
/** What the page imports as it is in node_modules: nothing comes from another machine. */
const ONNX_RUNTIME = 'onnxruntime-web';
/** What it imports in one file, made of `@posttrain/lm/text`. */
const TEXT_MODULE = '/modules/posttrain-lm-text.js';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** The folder of a dependency of this example. */
function packageFolder(name: string): string {
  const entry = resolve(name);
  const parts = join('node_modules', ...name.split('/'));
  return entry.slice(0, entry.lastIndexOf(parts) + parts.length);
}

/** Serves the page, its modules and an exported model at 127.0.0.1; port 0 takes a free one. */
export async function serve(modelFolder: string, port: number): Promise<{ server: Server; url: string }> {
  const folders = new Map([
    ['/model/', modelFolder],
    [`/modules/${ONNX_RUNTIME}/`, packageFolder(ONNX_RUNTIME)],
  ]);
  const text = await bundled(resolve('@posttrain/lm/text'));
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    if (path === TEXT_MODULE) {
      response.writeHead(200, headers('.js', text.byteLength)).end(text);
      return;
    }
    const [prefix, folder] = [...folders].find(([start]) => path.startsWith(start)) ?? ['/', import.meta.dirname];
    const file = join(folder, path === '/' ? 'index.html' : path.slice(prefix.length));
    const isInside = file.startsWith(folder + sep);
    send(response, isInside ? file : undefined).catch((error: Error) => response.destroy(error));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  return { server, url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : port}/` };
}

/** One module for a page; what only Node.js has would be an error. */
async function bundled(entry: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  });
  return outputFiles[0]!.contents;
}

const headers = (extension: string, length: number) => ({
  'content-type': TYPES[extension] ?? 'application/octet-stream',
  'content-length': length,
  // With these two a page may share memory between threads, which WebAssembly needs to use more than one.
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
});

async function send(response: ServerResponse, file: string | undefined): Promise<void> {
  const found = file === undefined ? undefined : await stat(file).catch(() => undefined);
  if (file === undefined || !found?.isFile()) {
    response.writeHead(404).end('not found');
    return;
  }
  response.writeHead(200, headers(extname(file), found.size));
  createReadStream(file).pipe(response);
}
