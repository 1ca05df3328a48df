import { describe, expect, it } from 'vitest';
import { makeControlGroup } from '../src/bubblewrap/control-group.js';
import { seccompFilter } from '../src/bubblewrap/seccomp.js';
import { DENIED, type Machine, NUMBERS } from '../src/bubblewrap/system-calls.js';
import { bubblewrap } from '../src/index.js';
import { testSandbox } from '../src/testing/index.js';
import { oneInEight, testAttacks } from './attacks/attack.js';
import { pythonAttacks } from './attacks/python.js';
import { whyNoBubblewrap } from './attacks/why-no-bubblewrap.js';

const sandbox = bubblewrap();

const reason = whyNoBubblewrap();
const pythonReason = reason ?? (sandbox.languages.includes('python') ? undefined : 'no python3 in /usr');

testSandbox((name, body) => {
  it(name, async (context) => {
    if (reason) context.skip(reason);
    await body();
  });
}, sandbox);
testAttacks(sandbox, 'python', oneInEight(pythonAttacks), () => pythonReason);

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

const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const WORDS: Readonly<Record<number, string>> = {
  2147483648: 'kill',
  2147418112: 'allow',
  327681: 'EPERM',
  327718: 'ENOSYS',
  327777: 'EAFNOSUPPORT',
};

/** What the kernel does with a filter, by its documentation: loads, jumps and returns over `struct seccomp_data`. */
function decide(filter: Uint8Array, architecture: number, number: number, args: readonly bigint[] = []): string {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, number, true);
  data.setUint32(4, architecture, true);
  args.forEach((arg, i) => {
    data.setBigUint64(16 + 8 * i, BigInt.asUintN(64, arg), true);
  });
  const program = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  let loaded = 0;
  for (let at = 0; at < filter.byteLength / 8; at++) {
    const code = program.getUint16(8 * at, true);
    const value = program.getUint32(8 * at + 4, true);
    const jump = (is: boolean) => {
      at += program.getUint8(8 * at + (is ? 2 : 3));
    };
    if (code === 0x20) loaded = data.getUint32(value, true);
    else if (code === 0x15) jump(loaded === value);
    else if (code === 0x35) jump(loaded >= value);
    else if (code === 0x45) jump((loaded & value) !== 0);
    else if (code === 0x06) return WORDS[value] ?? `return ${value.toString(16)}`;
    else throw new Error(`instruction ${code.toString(16)}`);
  }
  throw new Error('ran out of the program');
}

describe.each<Machine>(['x64', 'arm64'])('the filter of %s', (machine) => {
  const filter = seccompFilter(machine);
  const of = (number: number, ...args: bigint[]) => decide(filter, AUDIT[machine], number, args);
  const numbers = NUMBERS[machine];

  it('fits into the kernel, and every path of it returns', () => {
    expect(filter.length % 8).toBe(0);
    expect(filter.length / 8).toBeLessThan(4096);
    for (let number = 0; number < 600; number++) expect(of(number, 1n, 0n)).not.toMatch(/return/);
  });

  it('kills the calls of other architectures before it looks at their numbers', () => {
    for (const [name, audit] of Object.entries(AUDIT)) {
      if (name !== machine)
        for (const number of [0, 39, numbers.socket]) expect(decide(filter, audit, number)).toBe('kill');
    }
  });

  it.each(DENIED.filter((name) => numbers[name] !== undefined))('denies %s', (name) => {
    expect(of(numbers[name]!)).toBe('EPERM');
  });

  it('denies nothing else', () => {
    const denied = new Set(Array.from({ length: 457 }, (_, i) => i).filter((i) => of(i, 1n, 0n) === 'EPERM'));
    // Personality 1 is none that is allowed.
    expect(denied).toEqual(new Set([...DENIED.flatMap((name) => numbers[name] ?? []), numbers.personality]));
  });

  it.each<[string, number, bigint[], string]>([
    ['a thread', numbers.clone, [0x3d0f00n], 'allow'],
    ['a process', numbers.clone, [0x1200011n], 'allow'],
    ...[0x20000n, 0x02000000n, 0x04000000n, 0x08000000n, 0x10000000n, 0x20000000n, 0x40000000n].map(
      (flag): [string, number, bigint[], string] => [
        `a namespace ${flag.toString(16)}`,
        numbers.clone,
        [flag | 17n],
        'EPERM',
      ],
    ),
    ['clone3', numbers.clone3, [0n], 'ENOSYS'],
    ['a call of the future', 470, [], 'ENOSYS'],
    ['AF_UNIX', numbers.socket, [1n], 'allow'],
    ['a pair', numbers.socketpair, [1n], 'allow'],
    ...[0n, 2n, 10n, 16n, 17n, 38n, 40n, 44n].map((family): [string, number, bigint[], string] => [
      `family ${family}`,
      numbers.socket,
      [family],
      'EAFNOSUPPORT',
    ]),
    ['AF_INET with a high half', numbers.socket, [0x100000002n], 'EAFNOSUPPORT'],
    ['TIOCSTI', numbers.ioctl, [0n, 0x5412n], 'EPERM'],
    ['TIOCSTI with a high half', numbers.ioctl, [0n, 0x100005412n], 'EPERM'],
    ['TIOCLINUX', numbers.ioctl, [0n, 0x541cn], 'EPERM'],
    ['TCGETS', numbers.ioctl, [0n, 0x5401n], 'allow'],
    ['the question for the personality', numbers.personality, [0xffffffffn], 'allow'],
    ['no randomisation', numbers.personality, [0x40000n], 'EPERM'],
  ])('decides on %s', (_, number, args, decision) => expect(of(number, ...args)).toBe(decision));
});

it('the filter of x64 kills the calls of x32', () => {
  const filter = seccompFilter('x64');
  for (const number of [0x40000000, 0x40000027, 0x40000209, 0xffffffff]) {
    expect(decide(filter, AUDIT.x64, number)).toBe('kill');
  }
});
