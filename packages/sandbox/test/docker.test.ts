import { describe, expect, it } from 'vitest';
import { dockerArguments, dockerInput, readState } from '../src/docker/arguments.js';
import { docker } from '../src/index.js';
import { testSandbox } from '../src/testing/index.js';
import { testAttacks } from './attacks/attack.js';
import { pythonAttacks } from './attacks/python.js';

// An image with sh, dd and python3 that the daemon of this machine has.
const image = process.env.POSTTRAIN_DOCKER_IMAGE;
const reason = image === undefined ? 'no POSTTRAIN_DOCKER_IMAGE' : undefined;
const sandbox = docker(image === undefined ? {} : { image });

testSandbox((name, body) => {
  it(name, async (context) => {
    if (reason) context.skip(reason);
    await body();
  });
}, sandbox);

/** What Docker allows or does otherwise, and what holds it then. */
const OTHERWISE: Readonly<Record<string, string>> = {
  'system calls': 'its filter allows ptrace of oneself, memfd and shared memory, which are counted there',
  devices: 'it has more devices without a content',
  'the network beyond this machine': 'its filter allows sockets of a network that has no interface',
  'calls of x32 and of 32 bits': 'its filter allows the calls of 32 bits, by name',
  'descriptors of the sandbox': 'a container has no descriptor of the host',
  'signals to everybody': 'it may end its own container',
  'memory of other processes': 'its filter allows to trace the init of the container, which is of the same user',
};
const attacks = pythonAttacks.filter(({ name }) => !(name in OTHERWISE)).map(({ control: _, ...attack }) => attack);
testAttacks(sandbox, 'python', attacks, () => reason);

describe('docker run', () => {
  const limits = {
    wallMs: 1000,
    cpuMs: 1500,
    memoryBytes: 2 ** 28,
    processes: 8,
    outputBytes: 1000,
    fileBytes: 2 ** 20,
  };
  const files = new Map([
    ["it's/a.txt", Buffer.from('abc')],
    ['empty', Buffer.from('')],
  ]);
  const args = dockerArguments('name', 'image:tag', ['python3', 'main.py', '$(x)'], files, limits);

  it.each([
    [['--network', 'none']],
    [['--ipc', 'none']],
    [['--read-only']],
    [['--cap-drop', 'ALL']],
    [['--security-opt', 'no-new-privileges']],
    [['--user', '65534:65534']],
    [['--pids-limit', '9']],
    [['--memory', '268435456', '--memory-swap', '268435456']],
    [['--ulimit', 'cpu=2:3']],
    [['--pull', 'never']],
  ])('has %o before the image', (wanted) => {
    const before = args.slice(0, args.indexOf('image:tag'));
    const at = before.findIndex((_, i) => wanted.every((arg, j) => before[i + j] === arg));
    expect(at).toBeGreaterThan(0);
    for (const never of ['--privileged', '--volume', '-v', '--mount', '--device', '--cap-add', '--pid']) {
      expect(before).not.toContain(never);
    }
  });

  it('hands files over on standard input, to the byte, and the command without a shell', () => {
    const script = args[args.indexOf('-c') + 1];
    expect(script).toBe(
      "mkdir -p '/job/it'\\''s' && dd bs=3 count=1 iflag=fullblock of='/job/it'\\''s/a.txt' 2>/dev/null && : > '/job/empty' && exec \"$@\"",
    );
    expect(args.slice(-4)).toEqual(['sh', 'python3', 'main.py', '$(x)']);
    expect(Buffer.from(dockerInput(files, 'in')).toString()).toBe('abcin');
  });

  it.each([
    ['{"Status":"exited","ExitCode":3,"OOMKilled":false}', { exitCode: 3, outOfMemory: false }],
    ['{"Status":"exited","ExitCode":137,"OOMKilled":true}', { exitCode: 137, outOfMemory: true }],
    ['{"Status":"created","ExitCode":0,"OOMKilled":false}', undefined],
    ['{"Status":"exited"}', undefined],
    ['null', undefined],
    ['Error: No such object', undefined],
  ])('reads %s', (text, state) => expect(readState(text)).toEqual(state));
});
