import { type Attack, failed, printed, stoppedBy } from './attack.js';

const text = JSON.stringify;
const MEBIBYTES = 2 ** 20;

/** Attempts by name: each prints what it gives, and ESCAPED with its name where the value is true. */
const attempts = (prelude: string, each: Readonly<Record<string, string>>) => `
import ctypes, glob, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
${prelude}
def attempt(name, body):
    try:
        value = body()
    except (OSError, ValueError, AttributeError) as error:
        print(name, 'refused', error)
        return
    print(('ESCAPED ' if value is True else 'got ') + name, value)
${Object.entries(each)
  .map(([name, body]) => `attempt(${text(name)}, lambda: ${body})`)
  .join('\n')}
print('end')
`;

const end = printed(/^end$/m);

const connect = `
def connect(family, kind, address):
    s = socket.socket(family, kind)
    s.settimeout(2)
    s.connect(address)
    s.send(b'x')
    return True
`;

/** A system call by number, in a child of its own: a filter may kill it. True where it succeeded. */
const calls = `
import signal
def call(number, *arguments):
    pid = os.fork()
    if pid == 0:
        libc.syscall.restype = ctypes.c_long
        got = libc.syscall(*[ctypes.c_long(a) for a in (number, *arguments)])
        os._exit(0 if got >= 0 else min(ctypes.get_errno(), 125))
    status = os.waitpid(pid, 0)[1]
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
arm = os.uname().machine == 'aarch64'
`;

/** [x86_64, aarch64, arguments] of calls that must fail, and that would succeed or give another error than a refusal. */
const systemCalls: Readonly<Record<string, readonly [number, number, string]>> = {
  'ptrace, trace me': [101, 117, '0, 0, 0, 0'],
  'unshare, users': [272, 97, '0x10000000'],
  'unshare, mounts': [272, 97, '0x20000'],
  'clone, users': [56, 220, '0x10000011, 0, 0, 0, 0'],
  'clone, network': [56, 220, '0x40000011, 0, 0, 0, 0'],
  clone3: [435, 435, '0, 0'],
  keyctl: [250, 219, '0, -3, 0, 0, 0'],
  add_key: [248, 217, '0, 0, 0, 0, 0'],
  bpf: [321, 280, '0, 0, 0'],
  perf_event_open: [298, 241, '0, 0, -1, -1, 0'],
  userfaultfd: [323, 282, '1'],
  io_uring_setup: [425, 425, '1, 0'],
  memfd_create: [319, 279, "id(b'x') + 32, 0"],
  shmget: [29, 194, '0, 4096, 0o1600'],
  personality: [135, 92, '0x0040000'],
  setuid: [105, 146, '0'],
  setgid: [106, 144, '0'],
  chroot: [161, 51, "id(b'/') + 32"],
  'mount a tmpfs': [165, 40, "id(b'none') + 32, id(b'/job') + 32, id(b'tmpfs') + 32, 0, 0"],
  'a call of the future': [600, 600, '0'],
};

export const pythonAttacks: readonly Attack[] = [
  {
    name: 'files outside',
    code: ({ file, folder }) =>
      attempts('', {
        'the file': `print(open(${text(file)}).read())`,
        'the file by /proc': `[print(open(path + ${text(file)}).read()) for path in glob.glob('/proc/*/root') + glob.glob('/proc/*/cwd')]`,
        'the file by libc': `print(os.read(libc.open(${text(file)}.encode(), 0), 1000))`,
        'a file in the folder': `open(${text(`${folder}/written`)}, 'w').close()`,
        'a change of the file': `open(${text(file)}, 'a').write('x')`,
        'the end of the file': `os.remove(${text(file)})`,
      }),
    control: true,
    holds: end,
  },
  {
    name: 'links to files outside',
    code: ({ file, folder }) =>
      attempts('', {
        'a symbolic link': `(os.symlink(${text(file)}, 'link'), print(open('link').read()))`,
        'a symbolic link to a folder': `(os.symlink(${text(folder)}, 'folder'), open('folder/written', 'w').close())`,
        'a hard link': `(os.link(${text(file)}, 'hard'), print(open('hard').read()))`,
        'a link by descriptor': `print(open('/proc/self/fd/../../../' + ${text(file)}).read())`,
        'a way up': `print(open('../' * 20 + ${text(file.slice(1))}).read())`,
      }),
    control: true,
    holds: end,
  },
  {
    name: 'environments of other processes',
    code: ({ victim }) =>
      attempts('', {
        'the victim': `print(open('/proc/${victim.pid}/environ').read())`,
        everybody: "[print(open(path).read()) for path in glob.glob('/proc/*/environ') if 'self' not in path]",
        parent: "print(open('/proc/%d/environ' % os.getppid()).read())",
        arguments: `'posttrain-victim' in open('/proc/${victim.pid}/cmdline').read()`,
      }),
    control: true,
    holds: end,
  },
  {
    name: 'what is writable of the system',
    code: () =>
      attempts('', {
        ...Object.fromEntries(
          ['/x', '/usr/x', '/bin/x', '/etc/x', '/dev/x', '/proc/x', '/dev/shm/x', '/usr/bin/python3'].map((path) => [
            path,
            `open(${text(path)}, 'a') is not None`,
          ]),
        ),
        ...Object.fromEntries(
          ['kernel/hostname', 'kernel/core_pattern', 'vm/drop_caches', 'kernel/sysrq'].map((path) => [
            path,
            `open('/proc/sys/${path}', 'w') is not None`,
          ]),
        ),
        'sysrq-trigger': "open('/proc/sysrq-trigger', 'w') is not None",
        'the root again': "os.system('mount -o remount,rw / 2>/dev/null') == 0",
        'the bounds of memory of the kernel': "open('/proc/self/oom_score_adj', 'w').write('-1000') > 0 and None",
      }),
    holds: end,
  },
  {
    name: 'devices',
    code: () =>
      attempts('', {
        ...Object.fromEntries(
          [
            'mem',
            'kmsg',
            'port',
            'sda',
            'vda',
            'nvme0n1',
            'kvm',
            'fuse',
            'loop-control',
            'net/tun',
            'console',
            'tty',
            'ptmx',
          ].map((name) => [name, `os.open('/dev/${name}', os.O_RDWR) > 0`]),
        ),
        list: "not set(os.listdir('/dev')) <= {'null', 'zero', 'full', 'random', 'urandom', 'fd', 'stdin', 'stdout', 'stderr', 'pts', 'ptmx', 'tty', 'core', 'mqueue', 'shm'}",
        'a device of its own': "os.mknod('disk', 0o60666, os.makedev(8, 0)) is None and True",
      }),
    holds: end,
  },
  {
    name: 'network',
    code: ({ port }) =>
      attempts(connect, {
        tcp: `connect(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', ${port}))`,
        'tcp over IPv6': `connect(socket.AF_INET6, socket.SOCK_STREAM, ('::ffff:127.0.0.1', ${port}))`,
      }),
    control: true,
    holds: end,
  },
  {
    name: 'an abstract socket',
    code: ({ abstractSocket }) =>
      attempts(connect, { connect: `connect(socket.AF_UNIX, socket.SOCK_STREAM, '\\0${abstractSocket}')` }),
    control: true,
    holds: end,
  },
  {
    name: 'the network beyond this machine',
    code: () =>
      attempts(connect, {
        udp: "connect(socket.AF_INET, socket.SOCK_DGRAM, ('192.0.2.1', 53))",
        'a name': "socket.gethostbyname('example.org') != '' and None",
        'a raw socket': 'socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) is not None',
        'a packet socket': 'socket.socket(socket.AF_PACKET, socket.SOCK_RAW) is not None',
        vsock: 'connect(40, socket.SOCK_STREAM, (2, 1024))',
        interfaces:
          "[name for _, name in socket.if_nameindex() if name not in ('lo', 'tunl0', 'sit0', 'ip6tnl0')] != []",
      }),
    holds: end,
  },
  {
    name: 'signals',
    code: ({ victim }) =>
      attempts('import signal', {
        'the victim': `os.kill(${victim.pid}, signal.SIGKILL)`,
        'its group': `os.killpg(${victim.pid}, signal.SIGKILL)`,
        libc: `libc.kill(${victim.pid}, 9)`,
      }),
    control: true,
    holds: end,
  },
  {
    // It may end its own sandbox so; without a control, which would end the test.
    name: 'signals to everybody',
    code: () =>
      'import os\nos.setpgid(0, 0) if os.getpid() > 2 else None\nfor pid in range(1, 100):\n    if pid != os.getpid():\n        try: os.kill(pid, 9)\n        except OSError: pass\nos.kill(-1, 9)',
  },
  {
    name: 'system calls',
    code: () =>
      attempts(
        calls,
        Object.fromEntries(
          Object.entries(systemCalls).map(([name, [x64, arm64, more]]) => [
            name,
            `call(${arm64} if arm else ${x64}, ${more})`,
          ]),
        ),
      ),
    holds: end,
  },
  {
    name: 'memory of other processes',
    code: ({ victim }) =>
      attempts(calls, {
        attach: `call(117 if arm else 101, 16, ${victim.pid}, 0, 0)`,
        'attach to the parent': 'call(117 if arm else 101, 16, os.getppid(), 0, 0)',
        'read by call': `call(270 if arm else 310, ${victim.pid}, 0, 0, 0, 0, 0)`,
        'read by file': `open('/proc/${victim.pid}/mem', 'rb') is not None`,
        'its descriptors': `os.listdir('/proc/${victim.pid}/fd') != []`,
        'its namespaces': `os.open('/proc/${victim.pid}/ns/net', 0) > 0`,
      }),
    holds: end,
  },
  {
    name: 'calls of x32 and of 32 bits',
    code: () =>
      attempts(
        `${calls}
import mmap
def old_call(number):
    # mov eax, number; int 0x80; ret
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(b'\\xb8' + number.to_bytes(4, 'little') + b'\\xcd\\x80\\xc3')
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    pid = os.fork()
    if pid == 0: os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() >= 0 else 1)
    status = os.waitpid(pid, 0)[1]
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
`,
        {
          'x32 getpid': 'not arm and call(0x40000000 | 39)',
          'x32 ptrace': 'not arm and call(0x40000000 | 521, 0, 0, 0, 0)',
          'i386 getpid': 'not arm and old_call(20)',
        },
      ),
    holds: end,
  },
  {
    name: 'descriptors of the sandbox',
    code: () =>
      attempts('', {
        write: `[os.write(fd, b'{"exit-code": 0}\\n') for fd in range(3, 1024) if os.path.exists('/proc/self/fd/%d' % fd) and not os.readlink('/proc/self/fd/%d' % fd).startswith(('/dev/null', '/proc/'))] != []`,
        folders:
          "[fd for fd in os.listdir('/proc/self/fd') if os.path.isdir('/proc/self/fd/' + fd) and not os.readlink('/proc/self/fd/' + fd).startswith('/proc/')] != []",
      }),
    holds: end,
  },
  {
    name: 'output that looks like a report',
    code: () => `
import os, sys
for line in ['{"exit-code": 0}', '{ "child-pid": 1 }', 'bwrap: done', 'docker: done']:
    print(line); print(line, file=sys.stderr)
    for fd in range(3, 20):
        try: os.write(fd, line.encode())
        except OSError: pass
sys.exit(3)`,
    holds: failed,
  },
  {
    name: 'a fork bomb',
    code: () => 'import os\nwhile True:\n    try: os.fork()\n    except OSError: pass',
    limits: { processes: 8, wallMs: 2000, cpuMs: 2000 },
    holds: stoppedBy('wall-time', 'cpu-time'),
  },
  {
    name: 'more threads than processes are allowed',
    code: () => `
import threading, time
started = 0
try:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start(); started += 1
except RuntimeError: pass
print('held' if started < 8 else 'ESCAPED %d' % started)`,
    limits: { processes: 8 },
    holds: printed(/^held$/m),
  },
  {
    name: 'memory',
    code: () => 'kept = []\nwhile True: kept.append(bytearray(1 << 20))',
    limits: { memoryBytes: 128 * MEBIBYTES },
    holds: failed,
  },
  {
    name: 'memory that is mapped',
    code: () =>
      "import mmap\ntry: m = mmap.mmap(-1, 1 << 30); [m.__setitem__(i, 1) for i in range(0, 1 << 30, 4096)]; print('ESCAPED')\nexcept (OSError, ValueError): print('held')",
    limits: { memoryBytes: 128 * MEBIBYTES },
  },
  {
    name: 'a folder that is filled',
    code: () => `
total = 0
try:
    for i in range(64):
        with open('f%d' % i, 'wb') as f: total += f.write(b'x' * (1 << 20))
except OSError as error: print('held', error)
print('ESCAPED' if total > (8 << 20) else 'end')`,
    limits: { fileBytes: 4 * MEBIBYTES },
    holds: printed(/^held/m),
  },
  {
    // Each file is memory of the kernel, which only a control group counts.
    name: 'empty files without an end',
    code: () =>
      "import os\ni = 0\ntry:\n    while True: os.close(os.open('%d' % i, os.O_CREAT)); i += 1\nexcept OSError as error: print(error)",
    limits: { fileBytes: 2 ** 20, memoryBytes: 64 * MEBIBYTES, cpuMs: 3000, wallMs: 6000 },
    holds: failed,
  },
  {
    name: 'one large file',
    code: () =>
      "import os\nfd = os.open('f', os.O_RDWR | os.O_CREAT)\ntry: os.ftruncate(fd, 1 << 40); print('ESCAPED')\nexcept OSError: print('held')",
    limits: { fileBytes: 4 * MEBIBYTES },
  },
  { name: 'an endless loop', code: () => 'while True: pass', limits: { wallMs: 1500 }, holds: stoppedBy('wall-time') },
  { name: 'processor time', code: () => 'while True: pass', limits: { cpuMs: 1000 }, holds: stoppedBy('cpu-time') },
  {
    name: 'a sleep past the limit, deaf to signals',
    code: () =>
      "import signal, time\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ntime.sleep(60); print('ESCAPED')",
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  {
    name: 'a flood of output, deaf to signals',
    code: () =>
      "import signal, sys\nfor s in (signal.SIGTERM, signal.SIGPIPE, signal.SIGINT, signal.SIGXCPU): signal.signal(s, signal.SIG_IGN)\nwhile True:\n    try: sys.stdout.write('x' * 65536)\n    except OSError: pass",
    limits: { outputBytes: 10_000 },
    holds: stoppedBy('output'),
  },
  {
    name: 'a deep recursion',
    code: () => 'import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f() + 1\nf()',
    holds: failed,
  },
  {
    name: 'a regular expression without an end',
    code: () => "import re; re.match(r'^(a+)+$', 'a' * 50 + 'b')",
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  {
    name: 'a process in another session that stays',
    code: ({ folder }) => `
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3): os.close(fd)
        time.sleep(1)
        try: open(${text(`${folder}/written`)}, 'w').close()
        except OSError: pass
        time.sleep(1)
        os._exit(0)
    os._exit(0)
time.sleep(0.2)
${'' /* The control waits for it; in a sandbox it is dead with its first process. */}
import pathlib
if os.path.isdir(${text(folder)}): time.sleep(1.5)
print('end')`,
    control: true,
    holds: end,
  },
  {
    name: 'children that nobody waits for',
    code: () =>
      "import os, time\nfor _ in range(50):\n    try:\n        if os.fork() == 0: os._exit(0)\n    except OSError: pass\nprint('end')",
    limits: { processes: 4 },
    holds: end,
  },
];
