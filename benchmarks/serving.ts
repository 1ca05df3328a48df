/**
 * Serving under load: `npx tsx benchmarks/serving.ts [SECONDS] [WIDTH] [LAYERS]` (10, 256, 8). Starts the server over a
 * random model in a process of its own and prints, for 1, 8 and 32 clients that ask for 64 tokens after a prompt of
 * about 64: tokens per second and p50 and p99 of the time to the first token (streams, read here), and requests per
 * second and p50 and p99 of the whole time (autocannon, without streaming).
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import autocannon from 'autocannon';

const seconds = Number(process.argv[2] ?? 10);
const sizes = process.argv.slice(3, 5);
const TOKENS = 64;

const server = fork(new URL('./serving-server.ts', import.meta.url), sizes, { execArgv: ['--import', 'tsx'] });
const [{ url, parameters }] = (await once(server, 'message')) as [{ url: string; parameters: number }];
console.log(`${(parameters / 1e6).toFixed(1)}M parameters`);

let asked = 0;
/** Prompts differ, so that none is found in the cache. */
const body = (stream: boolean) =>
  JSON.stringify({
    model: 'random',
    prompt: `${asked++} ${'some words to read '.repeat(4)}`.slice(0, 64),
    max_tokens: TOKENS,
    temperature: 0,
    stream,
  });
const request = (stream: boolean) => ({
  method: 'POST' as const,
  headers: { 'content-type': 'application/json' },
  body: body(stream),
});

await streams(1, 2);
for (const clients of [1, 8, 32]) {
  await streams(clients, 2);
  const { tokensPerSecond, firstTokens } = await streams(clients, seconds);
  const load = await autocannon({
    url: `${url}/v1/completions`,
    connections: clients,
    duration: seconds,
    timeout: 600,
    requests: [{ ...request(false), setupRequest: (it: object) => ({ ...it, body: body(false) }) }],
  });
  if (load.errors + load.non2xx > 0) throw new Error(`${load.errors} errors, ${load.non2xx} refused`);
  console.log(
    `${clients} clients: ${tokensPerSecond.toFixed(0)} tokens/s, ` +
      `first token p50 ${quantile(firstTokens, 0.5)} ms, p99 ${quantile(firstTokens, 0.99)} ms; ` +
      `autocannon ${load.requests.average.toFixed(1)} requests/s, p50 ${load.latency.p50} ms, p99 ${load.latency.p99} ms`,
  );
}
server.kill('SIGTERM');

/** Clients that read streams, one request after the other. */
async function streams(clients: number, duration: number) {
  const started = performance.now();
  const end = started + duration * 1000;
  const firstTokens: number[] = [];
  let tokens = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < end) {
        const sent = performance.now();
        const response = await fetch(`${url}/v1/completions`, request(true));
        let isFirst = true;
        for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
          if (isFirst) firstTokens.push(performance.now() - sent);
          isFirst = false;
          tokens += piece.split('"index":0').length - 1;
        }
      }
    }),
  );
  return { tokensPerSecond: (tokens / (performance.now() - started)) * 1000, firstTokens };
}

function quantile(values: readonly number[], q: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!.toFixed(0);
}
