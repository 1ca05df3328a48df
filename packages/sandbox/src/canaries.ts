import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Things outside a sandbox, made to be attacked: each shows whether something has reached it. */
export interface Canaries {
  /** A text that is in `file` and in the environment of `victim`, and nowhere inside. */
  readonly secret: string;
  /** A file that anybody may read. */
  readonly file: string;
  /** A folder that anybody may write to. */
  readonly folder: string;
  /** A process to read and to signal. */
  readonly victim: { readonly pid: number; isAlive(): boolean };
  /** A listener on 127.0.0.1, and on an abstract UNIX socket where the system has them. */
  readonly port: number;
  readonly abstractSocket: string;
  /** What has been reached, in words; empty when everything held. */
  reached(output: string): Promise<string[]>;
  close(): Promise<void>;
}

/** `sun_path` has 108 bytes, the first of them zero. */
const ABSTRACT_LENGTH = 107;

/** Sets up things to attack. Close them. */
export async function makeCanaries(): Promise<Canaries> {
  const secret = `canary-${randomUUID()}`;
  const folder = await mkdtemp(join(tmpdir(), 'sandbox-canary-'));
  const file = join(folder, 'secret.txt');
  await writeFile(file, secret);
  // Only the sandbox is to be in the way, not permissions.
  await chmod(folder, 0o777);
  await chmod(file, 0o644);
  const victim = await startVictim(secret);
  let connections = 0;
  const count = (socket: { destroy(): void }) => {
    connections++;
    socket.destroy();
  };
  const tcp = await listen(createServer(count), { port: 0, host: '127.0.0.1' });
  // Of the full length: some versions of Node fill shorter names up with zeros, which are part of the address then.
  const abstractSocket = `posttrain-${randomUUID()}`.padEnd(ABSTRACT_LENGTH, '-');
  const abstract =
    process.platform === 'linux' ? await listen(createServer(count), { path: `\0${abstractSocket}` }) : undefined;
  const written = async () => (await readdir(folder)).filter((name) => name !== 'secret.txt');
  const isAlive = () => victim.exitCode === null && victim.signalCode === null;
  return {
    secret,
    file,
    folder,
    victim: { pid: victim.pid!, isAlive },
    port: (tcp.address() as AddressInfo).port,
    abstractSocket,
    async reached(output) {
      // What was sent has time to arrive.
      await new Promise((resolve) => setTimeout(resolve, 50));
      return [
        output.includes(secret) ? 'the secret was read' : [],
        (await written()).length > 0 ? 'a file was written outside' : [],
        (await readFile(file, 'utf8').catch(() => '')) !== secret ? 'a file outside was changed' : [],
        connections > 0 ? 'a listener was reached' : [],
        isAlive() ? [] : 'a process outside was killed',
      ].flat();
    },
    async close() {
      victim.kill('SIGKILL');
      for (const server of [tcp, abstract]) await new Promise((resolve) => server?.close(resolve) ?? resolve(null));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startVictim(secret: string): Promise<ChildProcess> {
  const victim = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1000)'], {
    env: { CANARY: secret },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve, reject) => victim.stdout!.once('data', resolve) && victim.once('error', reject));
  return victim;
}

function listen(server: Server, where: { port: number; host: string } | { path: string }): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => resolve(server));
  });
}
