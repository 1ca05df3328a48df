// What a real vLLM answers to `vllmServer`, request by request, written into the fixture that the client's test replays:
// `POSTTRAIN_VLLM_PYTHON=/path/to/python npx tsx examples/fleet/record.ts`.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM, sequenceLogProbs } from '@posttrain/lm';
import { vllmServer } from '@posttrain/openai';
import { createAdapter, lora, saveAdapter, withAdapterParameters } from '@posttrain/peft';
import { startVllm } from './servers.js';

const python = process.env.POSTTRAIN_VLLM_PYTHON;
if (!python) throw new Error('POSTTRAIN_VLLM_PYTHON names no Python that has vLLM');
const modelFolder = join(import.meta.dirname, '../pretrain-tiny/model');
const fixture = join(import.meta.dirname, '../../packages/openai/test/goldens/vllm.json');

/** A question and what came of it. */
interface Exchange {
  /** What the client was at. */
  readonly call: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  readonly answer: unknown;
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const folder = await mkdtemp(join(tmpdir(), 'vllm-'));
/** Where the adapter is here is no part of a protocol. */
const withoutPaths = (text: string) => text.replaceAll(folder, '/run').replaceAll(modelFolder, '/models/sums');
const model = await CausalLM.load(modelFolder);
const plain = await createAdapter(model, lora, { r: 4, targetModules: 'all-linear' }, { seed: 0 });
// B is 0 in a new adapter, with which it would be its base.
const moved = Object.entries(plain.parameters).map(([name, x], i) => [name, x.add(0.02 * (1 + (i % 3)))] as const);
const adapter = withAdapterParameters(plain, Object.fromEntries(moved));
await saveAdapter(join(folder, 'run-v1'), adapter);

const vllm = await startVllm(python, { model: modelFolder, folder, name: 'sums' });
const exchanges: Exchange[] = [];
let call = '';
/** A proxy between the client and vLLM, which writes down what passes. */
const proxy = createServer(async (request, response) => {
  const own = call;
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const sent = Buffer.concat(chunks).toString();
  const answer = await fetch(new URL(request.url!, vllm.server.name), {
    method: request.method!,
    headers: { 'content-type': 'application/json' },
    ...(sent && { body: sent }),
  });
  const text = await answer.text();
  exchanges.push({
    ...{ call: own, method: request.method!, path: request.url! },
    ...(sent && { body: parsed(withoutPaths(sent)) }),
    ...{ status: answer.status, answer: parsed(withoutPaths(text)) },
  });
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text);
});
proxy.listen(0, '127.0.0.1');
await once(proxy, 'listening');
try {
  const port = (proxy.address() as AddressInfo).port;
  const client = vllmServer({ baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0, timeoutMs: 600_000 });
  const results: Record<string, unknown> = {};
  const record = async (name: string, work: () => Promise<unknown>) => {
    call = name;
    results[name] = await work().then(
      (value) => value ?? null,
      (error: Error) => ({ error: error.message.replaceAll(`127.0.0.1:${port}`, 'HOST').replaceAll(folder, '/run') }),
    );
  };
  const prompt = [...model.tokenizer.encode('12+30-4=')];
  const request = { prompt, n: 2, seed: 2 ** 31 + 1, maxTokens: 6, temperature: 0.8, topK: 12 };
  await record('probe', () => client.probe());
  await record('healthy', () => client.isHealthy());
  await record('sample', () => client.sample(request));
  await record('load', () => client.loadAdapter('run-v1', join(folder, 'run-v1'), { version: 'run-v1' }));
  await record('load again', () => client.loadAdapter('run-v1', join(folder, 'run-v1'), { version: 'run-v1' }));
  await record('load nothing', () => client.loadAdapter('run-v2', join(folder, 'run-v2')));
  await record('sample of the adapter', () => client.sample({ ...request, adapter: 'run-v1' }));
  await record('sample to the end', () => client.sample({ ...request, maxTokens: 60, adapter: 'run-v1' }));
  await record('sample with a stop', () => client.sample({ ...request, maxTokens: 60, stop: ['='] }));
  await record('score', () => client.score(prompt));
  await record('score of the adapter', () => client.score(prompt, { adapter: 'run-v1' }));
  await record('sample of no adapter', () => client.sample({ ...request, adapter: 'run-v0' }));
  await record('sample too long', () => client.sample({ ...request, maxTokens: 4000 }));
  await record('pause', () => client.pause!('keep'));
  await record('resume', () => client.resume!());
  await record('pause in the middle', async () => {
    const under = client.sample({ ...request, n: 4, maxTokens: 240, temperature: 1, topK: undefined as never });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await client.pause!('abort');
    const cut = await under;
    await client.resume!();
    return cut;
  });
  await record('unload', () => client.unloadAdapter('run-v1'));
  await record('unload again', () => client.unloadAdapter('run-v1'));
  const own = async (adapted: boolean) =>
    Array.from((await sequenceLogProbs(model, [prompt], adapted ? { adapter } : {}))[0]!.logProbs);
  const ours = { score: await own(false), 'score of the adapter': await own(true) };
  await writeFile(fixture, `${JSON.stringify({ prompt, ours, results, exchanges }, undefined, 1)}\n`);
  console.log(JSON.stringify(results, undefined, 1));
} finally {
  proxy.closeAllConnections();
  proxy.close();
  await vllm.stop();
  await rm(folder, { recursive: true, force: true });
}
