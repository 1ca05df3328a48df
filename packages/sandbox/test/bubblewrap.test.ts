import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { makeControlGroup } from '../src/bubblewrap/control-group.js';
import { bubblewrap } from '../src/index.js';
import { testSandbox } from '../src/testing/index.js';
import { testAttacks } from './attacks/attack.js';
import { pythonAttacks } from './attacks/python.js';

const sandbox = bubblewrap();
/** Whether bwrap itself can make namespaces here. Where it can, a sandbox that does not start is a failure and no reason to skip. */
function whyNot(): string | undefined {
  const args = ['--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];
  const nobody = process.geteuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const { error, status, stderr } = spawnSync('bwrap', args, { encoding: 'utf8', cwd: '/', ...nobody });
  if (error) return `no bubblewrap: ${error.message}`;
  return status === 0 ? undefined : `no namespaces: ${stderr.trim()}`;
}

const reason = whyNot();
const pythonReason = reason ?? (sandbox.languages.includes('python') ? undefined : 'no python3 in /usr');

testSandbox((name, body) => {
  it(name, async (context) => {
    if (reason) context.skip(reason);
    await body();
  });
}, sandbox);
testAttacks(sandbox, 'python', pythonAttacks, () => pythonReason);

describe('bubblewrap', () => {
  it('runs commands, and no shell reads their arguments', async (context) => {
    if (reason) context.skip(reason);
    const command = ['/bin/sh', '-c', 'echo "$1"; pwd; ls; id -u; exit 7', 'sh', '$(echo no); `echo no`'] as const;
    expect(await sandbox.run({ command, files: { 'a.txt': 'x' } })).toMatchObject({
      exitCode: 7,
      stdout: '$(echo no); `echo no`\n/job\na.txt\n65534\n',
    });
  });

  it.for([
    ['kill -SEGV $$', { exitCode: null, signal: 'SIGSEGV', stoppedBy: null }],
    ['kill -9 $$', { exitCode: null, signal: 'SIGKILL', stoppedBy: null }],
    ['no-such-program', { exitCode: 127, stoppedBy: null }],
    ['head -c 100000000 /dev/zero > f', { exitCode: null, signal: 'SIGXFSZ', stoppedBy: 'file-size' }],
  ] as const)('says how "%s" ended', async ([script, end], context) => {
    if (reason) context.skip(reason);
    expect(await sandbox.run({ command: ['/bin/sh', '-c', `${script}`] })).toMatchObject(end);
  });

  it('reads folders that it is told to, and writes none', async (context) => {
    if (reason) context.skip(reason);
    const more = bubblewrap({ readOnly: ['/etc/hostname'] });
    const command = ['/bin/sh', '-c', 'cat /etc/hostname >/dev/null && echo read; echo x >> /etc/hostname'] as const;
    expect(await more.run({ command })).toMatchObject({ stdout: 'read\n', exitCode: 2 });
    expect(() => bubblewrap({ readOnly: ['/'] })).toThrow(/readOnly/);
    expect(() => bubblewrap({ readOnly: ['etc'] })).toThrow(/absolute/);
  });

  it.each(['no-such-bwrap', '/no/such/bwrap'])('is refused by name where there is no program: %s', async (path) => {
    const absent = bubblewrap({ path });
    const job = { command: ['ls'] } as const;
    await expect(absent.run(job)).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/bubblewrap.*no program.*apt-get install bubblewrap|needs Linux/),
    });
  });

  it('is refused where what calls itself bwrap isolates nothing', async (context) => {
    if (process.platform !== 'linux') context.skip('needs Linux');
    // Runs the command behind "--" on the bare machine, as a leaking sandbox would, without the limits that a shell sets before it.
    const { chmod, mkdtemp, rm, writeFile } = await import('node:fs/promises');
    const folder = await mkdtemp('/tmp/sandbox-leak-');
    try {
      await chmod(folder, 0o755);
      const script =
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift 5\n"$@"\necho "{ \\"exit-code\\": $? }" >&3\n';
      await writeFile(`${folder}/bwrap`, script, { mode: 0o755 });
      const found = await bubblewrap({ path: `${folder}/bwrap` }).probe();
      expect(found.ok).toBe(false);
      const names = found.checks.filter(({ held }) => !held).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(['canaries', 'system calls', 'no new privileges']));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('control groups', () => {
  const limits = {
    wallMs: 20_000,
    cpuMs: 20_000,
    memoryBytes: 64 * 2 ** 20,
    processes: 8,
    outputBytes: 1000,
    fileBytes: 2 ** 20,
  };

  it('count the memory of all processes together', async (context) => {
    if (reason) context.skip(reason);
    const group = makeControlGroup(limits);
    if (!group) return context.skip('this user may not make control groups');
    await group.remove();
    // Each has less than its own limit; together they have three times as much. Killed is one of them, or all of the job.
    const code = `
import os, time
for _ in range(6):
    if os.fork() == 0:
        kept = b'x' * (32 << 20); time.sleep(3); os._exit(0)
print('killed', sum(os.wait()[1] == 9 for _ in range(6)))`;
    const result = await sandbox.run({ language: 'python', code, limits });
    if (result.stoppedBy !== 'memory') expect(result.stdout).toMatch(/killed [1-6]/);
    expect(result.cpuMs).toBeGreaterThan(0);
  });

  it('leave none behind', async (context) => {
    if (!makeControlGroup(limits)?.remove()) context.skip('this user may not make control groups');
    const { readFile, readdir } = await import('node:fs/promises');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const paths = (await readFile('/proc/self/cgroup', 'utf8')).split('\n').map((line) => line.split(':')[2] ?? '/');
    const folders = (await readdir('/sys/fs/cgroup')).flatMap((name) =>
      paths.map((path) => `/sys/fs/cgroup/${name}${path}`),
    );
    const names = await Promise.all(['/sys/fs/cgroup', ...folders].map((folder) => readdir(folder).catch(() => [])));
    expect(names.flat().filter((name) => name.startsWith('posttrain-sandbox-'))).toEqual([]);
  });
});
