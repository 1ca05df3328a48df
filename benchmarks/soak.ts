/**
 * Many requests of every kind at once to a server in a process of its own, over a random tiny model:
 * `npx tsx benchmarks/soak.ts [REQUESTS] [CLIENTS]` (10 000 and 24). Each has an answer that is known beforehand, leaves
 * in the middle, or is malformed. Prints what came back, and the server's memory over time; exits with 1 when an answer
 * was lost or is somebody else's, or when something is still running at the end.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { soak } from './soak-clients.js';

const requests = Number(process.argv[2] ?? 10_000);
const clients = Number(process.argv[3] ?? 24);

const server = fork(new URL('./soak-server.ts', import.meta.url), { execArgv: ['--import', 'tsx'] });
const [{ url, prompts }] = (await once(server, 'message')) as [
  { url: string; prompts: readonly { prompt: string; answer: string }[] },
];
const started = performance.now();
const result = await soak(url, prompts, {
  requests,
  clients,
  onProgress: ({ done, residentBytes }) => {
    console.log(`${done} of ${requests}, server ${Math.round(residentBytes / 2 ** 20)} MiB`);
  },
});
const exited = once(server, 'exit');
server.kill('SIGTERM');
const [code] = await exited;
console.log({ ...result, seconds: Math.round((performance.now() - started) / 1000), exitCode: code });
process.exitCode = result.wrong.length === 0 && result.stillRunning === 0 && code === 0 ? 0 : 1;
