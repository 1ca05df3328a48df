import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Sandbox, type SandboxProbe, SandboxUnavailableError } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { makeCanaries } from '../src/canaries.js';
import { docker, quickjs, type SandboxNeeds, sandboxFor } from '../src/index.js';
import { runProcess } from '../src/process/run-process.js';
import { nodeFlags } from '../src/quickjs/node-flags.js';
import { testSandbox } from '../src/testing/index.js';
import { runPlain } from './plain.js';

const run = (script: string, more: object = {}) =>
  runProcess({
    where: 'test',
    file: process.execPath,
    args: ['-e', script],
    stdin: '',
    outputBytes: 1000,
    wallMs: 20_000,
    ...more,
  });

describe('a process of a sandbox', () => {
  it('has no environment', async () => {
    const { stdout } = await run('console.log(JSON.stringify(process.env))');
    expect(JSON.parse(stdout.bytes().toString())).toEqual({});
  });

  it('has its inputs and its own word', async () => {
    const script =
      "const fs = require('fs'); fs.writeSync(3, fs.readFileSync(0) + '|' + fs.readFileSync(4) + '|' + fs.readFileSync(5))";
    const ended = await run(script, { stdin: 'a', inputs: [Buffer.from('b'), Buffer.from('c')] });
    expect(ended).toMatchObject({ exitCode: 0, killedFor: null, report: 'a|b|c' });
  });

  it('keeps a bounded report', async () => {
    const ended = await run("require('fs').writeSync(3, 'x'.repeat(100_000)); setTimeout(() => {}, 20_000)");
    expect(ended.killedFor).toBe('output');
    expect(ended.report).toHaveLength(4096);
  });

  it('takes its group with it', async (context) => {
    if (process.platform === 'win32') context.skip('no groups of processes on Windows');
    const script =
      "const { pid } = require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' }); console.log(pid); setInterval(() => {}, 1000)";
    const ended = await run(script, { wallMs: 1500 });
    expect(ended.killedFor).toBe('wall-time');
    // Its pipes are closed, so nobody holds them any more; the next test is the control.
    expect(Number(ended.stdout.bytes())).toBeGreaterThan(1);
  });

  it('is an error where something outlives it', async (context) => {
    if (process.platform === 'win32') context.skip('no sessions on Windows');
    const script =
      "require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 8000)'], { stdio: 'inherit', detached: true }).unref()";
    await expect(run(script)).rejects.toMatchObject({
      code: 'SANDBOX_FAILURE',
      message: expect.stringContaining('outlived'),
    });
  });

  it('is an error where it cannot start', async () => {
    await expect(run('', { file: '/no/such/program' })).rejects.toMatchObject({ code: 'SANDBOX_FAILURE' });
  });

  it('gets no descriptor that its grandparent has left open', async (context) => {
    if (process.platform !== 'linux') context.skip('only Linux lists descriptors');
    // The child of this test has descriptor 40 without close-on-exec, as a supervisor may leave one.
    const folder = await mkdtemp(join(tmpdir(), 'sandbox-descriptor-'));
    try {
      const left = openSync(folder, 'r');
      const module = new URL('../src/process/run-process.ts', import.meta.url).href;
      const script = `
const { spawnSync } = await import('node:child_process');
const { runProcess } = await import('${module}');
const args = ['-c', 'for fd in /proc/self/fd/*; do readlink $fd; done'];
console.log('plain', spawnSync('/bin/sh', args, { encoding: 'utf8' }).stdout);
const { stdout } = await runProcess({ where: 'test', file: '/bin/sh', args, stdin: '', outputBytes: 10_000, wallMs: 20_000, environment: { PATH: '/usr/bin:/bin' } });
console.log('ours', stdout.bytes().toString());`;
      const stdio: ('ignore' | 'pipe' | number)[] = [...new Array(40).fill('ignore'), left];
      stdio[1] = stdio[2] = 'pipe';
      const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        encoding: 'utf8',
        stdio,
      });
      const [plain, ours] = stdout.split('ours');
      expect(plain, stderr).toContain(folder);
      expect(ours).toContain('/dev/null');
      expect(ours).not.toContain(folder);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("Node's permissions, the second wall", () => {
  it.each([
    ['reads nothing outside', (file: string) => `require('fs').readFileSync(${JSON.stringify(file)})`],
    [
      'writes nothing',
      (_: string, folder: string) => `require('fs').writeFileSync(${JSON.stringify(`${folder}/written`)}, 'x')`,
    ],
    ['starts no process', () => "require('child_process').spawnSync('ls')"],
    ['starts no thread', () => "new (require('worker_threads').Worker)('1', { eval: true })"],
    ['makes no code of texts', () => "new Function('return 1')()"],
  ])('%s', async (_, attempt) => {
    const canaries = await makeCanaries();
    try {
      const body = attempt(canaries.file, canaries.folder);
      const script = `try { ${body}; console.log('done') } catch (error) { console.log(error.code ?? error.name) }`;
      const walled = await runProcess({
        where: 'test',
        file: process.execPath,
        args: [...(await nodeFlags()), '-e', script],
        stdin: '',
        outputBytes: 1000,
        wallMs: 20_000,
      });
      expect(walled.stdout.bytes().toString(), walled.stderr.bytes().toString()).toMatch(
        /^(ERR_ACCESS_DENIED|EvalError)\n$/,
      );
      expect((await run(script)).stdout.bytes().toString()).toBe('done\n');
    } finally {
      await canaries.close();
    }
  });
});

/** A sandbox whose probe says so. */
function fake(name: string, language: string, ok: boolean, asked: string[] = []): Sandbox {
  const checks = [{ name: 'canaries', held: ok, detail: ok ? 'nothing was reached' : 'the secret was read' }];
  const found: SandboxProbe = { sandbox: name, ok, checks, remedy: `Mend ${name}.` };
  const probe = async () => {
    asked.push(name);
    return found;
  };
  return { name, languages: [language], commands: false, probe, run: () => Promise.reject(new Error('not here')) };
}

describe('sandboxFor', () => {
  it('takes the first whose probe passes, and asks no further', async () => {
    const asked: string[] = [];
    const sandboxes = [
      fake('a', 'python', false, asked),
      fake('b', 'lua', true, asked),
      fake('c', 'python', true, asked),
      fake('d', 'python', true, asked),
    ];
    expect((await sandboxFor({ language: 'python', sandboxes })).name).toBe('c');
    expect(asked).toEqual(['a', 'c']);
  });

  it('names what was tried and what to do where none isolates', async () => {
    const sandboxes = [fake('a', 'python', false), fake('c', 'lua', true), fake('b', 'python', false)];
    const error = await sandboxFor({ language: 'python', sandboxes }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SandboxUnavailableError);
    expect(error).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message:
        'sandboxFor: no isolation here. a: canaries (the secret was read). Mend a. b: canaries (the secret was read). Mend b. c: language (it runs lua).',
      tried: [{ sandbox: 'a' }, { sandbox: 'b' }, { sandbox: 'c' }],
    });
  });

  it.each([
    [{ language: 'cobol' }, /no sandbox runs cobol; there is javascript, python/],
    [{ sandboxes: [quickjs()] }, /no sandbox runs commands/],
    [{ langauge: 'python' }, /Did you mean "language"/],
    [{ language: 3 }, /sandboxFor: language is 3; it must be a text/],
    [{ sandboxes: [{}] }, /sandboxes is .*it must be a list of sandboxes/],
  ])('refuses %o', async (needs, message) => {
    await expect(sandboxFor(needs as SandboxNeeds)).rejects.toThrow(message);
  });

  it('has QuickJS for JavaScript everywhere, and the same one each time', async () => {
    const found = await sandboxFor({ language: 'javascript' });
    expect(found.name).toBe('quickjs');
    expect(await sandboxFor({ language: 'javascript' })).toBe(found);
  });
});

describe('the kit', () => {
  /** The checks of the kit that fail. */
  async function failures(sandbox: Sandbox): Promise<string[]> {
    const checks: [string, () => Promise<void>][] = [];
    testSandbox((name, body) => checks.push([name, body]), sandbox);
    const failed: string[] = [];
    for (const [name, body] of checks) await body().catch(() => failed.push(name));
    return failed;
  }

  it('finds a child without a sandbox wanting', async () => {
    const leaky: Sandbox = {
      ...fake('bare', 'javascript', true),
      run: (job) => {
        // What would hurt the machine is not run: it counts as failed all the same.
        const code = 'code' in job ? job.code : '';
        if (/for \(;;\)|Uint8Array/.test(code)) return Promise.reject(new Error('left out'));
        return runPlain('javascript', code);
      },
    };
    const failed = await failures(leaky);
    for (const what of [
      'refuses jobs',
      'reaches nothing outside',
      'ends what never ends',
      'no more memory',
      'ends with its signal',
    ]) {
      expect(failed.join('\n')).toContain(what);
    }
    expect(failed.join('\n')).not.toContain('tells of a program that fails');
  });
});

describe('docker', () => {
  it.each(['no-such-docker', '/no/such/docker'])('is refused by name where there is no client: %s', async (path) => {
    await expect(docker({ path }).run({ command: ['ls'] })).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/docker: start \(.*there is no program.*pull/),
    });
  });

  it('is refused by name where there is no daemon', async () => {
    const before = process.env.DOCKER_HOST;
    process.env.DOCKER_HOST = 'unix:///no/such/socket';
    try {
      await expect(docker().run({ command: ['ls'] })).rejects.toThrow(/docker: start/);
    } finally {
      if (before === undefined) delete process.env.DOCKER_HOST;
      else process.env.DOCKER_HOST = before;
    }
  });
});
