import { describe, expect, it } from 'vitest';
import { seccompFilter } from '../src/bubblewrap/seccomp.js';
import { DENIED, type Machine, NUMBERS } from '../src/bubblewrap/system-calls.js';

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
