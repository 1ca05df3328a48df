import type { SandboxCheck, SandboxProbe, SandboxResult } from '@posttrain/interfaces';
import { makeCanaries } from '../canaries.js';
import { type ReadJob, readJob } from '../job.js';

/** Attacks from JavaScript: names of the host, its modules, constructors of everything that the host has given. */
export async function attackQuickJS(
  name: string,
  attempt: (job: ReadJob) => Promise<SandboxResult>,
): Promise<SandboxProbe> {
  const canaries = await makeCanaries();
  const checks: SandboxCheck[] = [];
  const run = (code: string, limits: object) =>
    attempt(readJob(name, ['javascript'], false, { language: 'javascript', code, limits }));
  try {
    const { stdout, stderr } = await run(attackOf(canaries.file, canaries.victim.pid), { wallMs: 20_000 });
    checks.push({ name: 'start', held: stdout.endsWith('ended\n'), detail: stderr.slice(0, 500) || 'it ran' });
    const found = stdout.split('\n').filter((line) => line.startsWith('found '));
    checks.push({ name: 'the host', held: found.length === 0, detail: found.join(', ') || 'nothing of it was found' });
    const reached = await canaries.reached(stdout + stderr);
    const detail = reached.join(', ') || 'nothing outside was reached';
    checks.push({ name: 'canaries', held: reached.length === 0, detail });
    const memory = await run(MEMORY, { wallMs: 20_000, memoryBytes: 32 * 2 ** 20 });
    checks.push({ name: 'memory', held: memory.stdout === 'refused\n', detail: memory.stdout + memory.stderr });
    const loop = await run('for (;;);', { wallMs: 700 });
    checks.push({ name: 'time', held: loop.stoppedBy === 'wall-time', detail: `ended by ${loop.stoppedBy}` });
  } catch (error) {
    checks.push({ name: 'start', held: false, detail: error instanceof Error ? error.message : String(error) });
  } finally {
    await canaries.close();
  }
  const ok = checks.length > 0 && checks.every(({ held }) => held);
  const remedy = 'Use Node 20 or later, with WebAssembly, and the packages as they were installed.';
  return { sandbox: name, ok, checks, ...(!ok && { remedy }) };
}

const MEMORY = `
const kept = [];
try {
  for (let i = 0; i < 64; i++) kept.push(new Uint8Array(2 ** 20).fill(i));
  print('had ' + kept.length + ' MiB');
} catch { kept.length = 0; print('refused'); }
`;

const attackOf = (file: string, victim: number) => `
const roots = [globalThis, print, console.log, require, readline, read, Error('x'), (function () { return this })()];
const names = ['process', 'Deno', 'Bun', 'fetch', 'WebAssembly', 'Buffer', 'global', 'std', 'os', 'run_js', 'XMLHttpRequest', 'Worker'];
const use = (host) => {
  const fs = host.getBuiltinModule ? host.getBuiltinModule('fs') : host.mainModule.require('fs');
  print(fs.readFileSync(${JSON.stringify(file)}, 'utf8'));
  host.kill(${victim}, 'SIGKILL');
};
for (const root of roots) {
  for (const name of names) {
    let value;
    try { value = root.constructor.constructor('return typeof ' + name + ' === "undefined" ? undefined : ' + name)(); } catch {}
    if (value === undefined) continue;
    print('found ' + name);
    try { use(value); } catch {}
  }
}
for (const name of ['fs', 'child_process', 'net', 'vm', 'std', 'os', ${JSON.stringify(file)}]) {
  for (const get of [require, read]) try { if (get(name)) print('found ' + name, get(name)); } catch {}
  import(name).then((module) => print('found ' + name, Object.keys(module)), () => {});
  import('node:' + name).then((module) => print('found ' + name, Object.keys(module)), () => {});
}
Promise.resolve().then(() => 0).then(() => 0).then(() => 0).then(() => print('ended'));
`;
