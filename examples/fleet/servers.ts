// Servers of one machine, each a process of its own: ours, or vLLM's where POSTTRAIN_VLLM_PYTHON names a Python that has it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { SamplerServer } from '@posttrain/interfaces';
import { vllmServer } from '@posttrain/openai';

export interface StartedServer {
  readonly server: SamplerServer;
  /** At once, with all processes of its own: vLLM's engine outlives the process that answers. */
  kill(): void;
  stop(): Promise<void>;
}

const root = join(import.meta.dirname, '../..');

/** What a server is started with. */
interface ServerSettings {
  readonly model: string;
  /** Where adapters are. */
  readonly folder: string;
  /** What vLLM calls its base. Default: the folder. */
  readonly name?: string;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Waits until it answers, for as long as it takes to load. @throws when it ends before */
async function started(child: ChildProcess, server: SamplerServer, said: () => string): Promise<StartedServer> {
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // Its processes have ended.
    }
  };
  process.once('exit', kill);
  for (let i = 0; i < 4800; i++) {
    if (child.exitCode !== null) throw new Error(`the server has ended: ${said().slice(-2000)}`);
    if (await server.isHealthy()) {
      const stop = async () => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGTERM');
        const hard = setTimeout(kill, 5000);
        await once(child, 'exit');
        clearTimeout(hard);
      };
      return { server, kill, stop };
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  kill();
  throw new Error(`the server does not answer: ${said().slice(-2000)}`);
}

function run(command: string, given: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(command, given, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own.
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => (output = (output + chunk).slice(-20_000)));
  return { child, said: () => output };
}

/** A lost server is given up at once: another one takes its work. The first pass of vLLM may take minutes on a busy machine. */
const reach = (port: number): SamplerServer =>
  vllmServer({ baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0, timeoutMs: 600_000 });

/** `posttrain-serve` on the model. */
export async function startOurs({ model, folder }: ServerSettings): Promise<StartedServer> {
  const port = await freePort();
  const cli = join(root, 'packages/serve/src/cli.ts');
  const given = ['--import', 'tsx', cli, model, '--port', `${port}`, '--adapter-folder', folder, '--allow-pause'];
  const { child, said } = run(process.execPath, [...given, '--drain-seconds', '0']);
  return started(child, reach(port), said);
}

/** `vllm serve` on the model. */
export async function startVllm(python: string, { model, name }: ServerSettings): Promise<StartedServer> {
  const port = await freePort();
  const settings = [
    '--enable-lora',
    '--max-lora-rank',
    '16',
    '--max-loras',
    '4',
    '--logprobs-mode',
    'processed_logprobs',
  ];
  const small = ['--dtype', 'float32', '--max-model-len', '256', '--enforce-eager'];
  const called = name === undefined ? [] : ['--served-model-name', name];
  const given = ['-m', 'vllm.entrypoints.cli.main', 'serve', model, '--host', '127.0.0.1', '--port', `${port}`];
  const { child, said } = run(python, [...given, ...settings, ...small, ...called], {
    ...{ HF_HUB_OFFLINE: '1', VLLM_NO_USAGE_STATS: '1', VLLM_CPU_KVCACHE_SPACE: '1', OMP_NUM_THREADS: '1' },
    ...{ VLLM_SERVER_DEV_MODE: '1', VLLM_ALLOW_RUNTIME_LORA_UPDATING: '1' },
  });
  const vllm = await started(child, reach(port), said);
  // It answers /health before its first pass, in which it prepares kernels.
  await vllm.server.probe();
  return vllm;
}
