import { ALLOWED_PERSONALITIES, DENIED, HIGHEST_KNOWN, type Machine, NUMBERS } from './system-calls.js';

// Linux's classic BPF and seccomp: <linux/bpf_common.h>, <linux/seccomp.h>, <linux/audit.h>.
const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_IF_BITS = 0x45;
const RETURN = 0x06;
const KILL_PROCESS = 0x80000000;
const ALLOW = 0x7fff0000;
const fail = (errno: number) => 0x00050000 | errno;
const EPERM = fail(1);
const ENOSYS = fail(38);
const EAFNOSUPPORT = fail(97);

/** Where `struct seccomp_data` has its fields; an argument has its low half first on both machines. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (index: number) => 16 + 8 * index;

const AUDIT_ARCHITECTURE: Readonly<Record<Machine, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 };
/** Numbers from here on are those of x32, whose calls would pass under other numbers. */
const X32 = 0x40000000;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NEW_NAMESPACES = 0x7e020000;
const AF_UNIX = 1;
/** TIOCSTI and TIOCLINUX put characters into the input of a terminal. */
const TERMINAL_INPUT = [0x5412, 0x541c];

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

/**
 * The bytes of a seccomp filter for one machine, as `bwrap --seccomp` reads them: `struct sock_filter` after another, little
 * endian. Calls of another architecture kill the process, which is checked first; what `DENIED` names fails with EPERM;
 * sockets other than AF_UNIX with EAFNOSUPPORT; `clone3`, whose flags a filter cannot see, and everything newer than the
 * list with ENOSYS, so that libraries fall back to what they did before.
 */
export function seccompFilter(machine: Machine): Uint8Array {
  const numbers = NUMBERS[machine];
  const program: Instruction[] = [
    [LOAD_WORD, 0, 0, ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, AUDIT_ARCHITECTURE[machine]],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD_WORD, 0, 0, NUMBER],
    ...(machine === 'x64' ? when(JUMP_AT_LEAST, X32, KILL_PROCESS) : []),
    ...when(JUMP_AT_LEAST, HIGHEST_KNOWN + 1, ENOSYS),
    ...when(JUMP_EQUAL, numbers.clone3, ENOSYS),
    ...DENIED.flatMap((name) => {
      const number = numbers[name];
      return number === undefined ? [] : when(JUMP_EQUAL, number, EPERM);
    }),
    ...ofCall(numbers.clone, [[LOAD_WORD, 0, 0, argument(0)], ...when(JUMP_IF_BITS, NEW_NAMESPACES, EPERM)]),
    ...[numbers.socket, numbers.socketpair].flatMap((call) =>
      ofCall(call, [[LOAD_WORD, 0, 0, argument(0)], ...unless([AF_UNIX], EAFNOSUPPORT)]),
    ),
    ...ofCall(numbers.ioctl, [
      [LOAD_WORD, 0, 0, argument(1)],
      ...TERMINAL_INPUT.flatMap((request) => when(JUMP_EQUAL, request, EPERM)),
    ]),
    ...ofCall(numbers.personality, [[LOAD_WORD, 0, 0, argument(0)], ...unless(ALLOWED_PERSONALITIES, EPERM)]),
    [RETURN, 0, 0, ALLOW],
  ];
  const bytes = new DataView(new ArrayBuffer(8 * program.length));
  program.forEach(([code, ifTrue, ifFalse, value], i) => {
    bytes.setUint16(8 * i, code, true);
    bytes.setUint8(8 * i + 2, ifTrue);
    bytes.setUint8(8 * i + 3, ifFalse);
    bytes.setUint32(8 * i + 4, value, true);
  });
  return new Uint8Array(bytes.buffer);
}

/** Ends with `action` when the loaded word compares so. */
const when = (comparison: number, value: number, action: number): Instruction[] => [
  [comparison, 0, 1, value],
  [RETURN, 0, 0, action],
];

/** Ends with `action` when the loaded word is none of `values`. */
const unless = (values: readonly number[], action: number): Instruction[] => [
  ...values.map((value, i): Instruction => [JUMP_EQUAL, values.length - i, 0, value]),
  [RETURN, 0, 0, action],
];

/** What is done for one call; it ends with allowing. The number is loaded before, and lost for that call only. */
const ofCall = (number: number, body: readonly Instruction[]): Instruction[] => [
  [JUMP_EQUAL, 0, body.length + 1, number],
  ...body,
  [RETURN, 0, 0, ALLOW],
];
