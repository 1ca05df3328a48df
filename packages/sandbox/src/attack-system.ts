import type { SandboxCheck, SandboxProbe, SandboxResult } from '@posttrain/interfaces';
import { type Canaries, makeCanaries } from './canaries.js';
import { type ReadJob, readJob } from './job.js';

/** What of a sandbox of the operating system is attacked. */
export interface SystemAttack {
  readonly name: string;
  readonly attempt: (job: ReadJob) => Promise<SandboxResult>;
  /** What Python tries where the sandbox has it; each must be refused. */
  readonly python: readonly PythonAttack[];
  readonly remedy: string;
}

/** Attacks from a shell, and from Python where there is one; each prints what it found. */
export async function attackSystem({ name, attempt, python, remedy }: SystemAttack): Promise<SandboxProbe> {
  const canaries = await makeCanaries();
  const checks: SandboxCheck[] = [];
  const check = (what: string, held: boolean, detail: string) => {
    checks.push({ name: what, held, detail });
  };
  const limits = { wallMs: 20_000, processes: 8 };
  try {
    const shell = await attempt(readJob(name, [], true, { command: ['/bin/sh', '-c', shellAttack(canaries)], limits }));
    const lines = new Set(shell.stdout.split('\n'));
    check('start', lines.has('ended'), shell.stderr.slice(0, 300) || `exit ${shell.exitCode}`);
    for (const [what, line] of SIGNS) {
      const [word] = line.split(' ', 1);
      check(what, lines.has(line), [...lines].find((other) => other.startsWith(word!)) ?? `nothing about ${word}`);
    }
    const forks = lines.has('a fork failed') || /fork/i.test(shell.stderr);
    check('limit of processes', forks, forks ? 'a fork failed' : '64 processes were started');
    if (python.length > 0) {
      const job = { language: 'python', code: pythonAttack(canaries, python), limits };
      const { stdout, stderr } = await attempt(readJob(name, ['python'], false, job));
      for (const what of python) {
        check(what, stdout.includes(`${what}: refused\n`), stdout.trim() || stderr.slice(-300));
      }
    }
    const reached = await canaries.reached(shell.stdout + shell.stderr);
    check('canaries', reached.length === 0, reached.join(', ') || 'nothing outside was reached');
  } catch (error) {
    check('start', false, error instanceof Error ? error.message : String(error));
  } finally {
    await canaries.close();
  }
  const ok = checks.length > 0 && checks.every(({ held }) => held);
  return { sandbox: name, ok, checks, ...(!ok && { remedy }) };
}

/** The probe of a sandbox that cannot be attacked, because it does not start. */
export function failedStart(name: string, remedy: string, detail: string): SandboxProbe {
  return { sandbox: name, ok: false, checks: [{ name: 'start', held: false, detail }], remedy };
}

/** What the shell must have printed for a wall to stand. */
const SIGNS: readonly (readonly [what: string, line: string])[] = [
  ['network', 'interfaces: lo'],
  ['capabilities', 'CapEff: 0000000000000000'],
  ['capabilities to be had', 'CapBnd: 0000000000000000'],
  ['no new privileges', 'NoNewPrivs: 1'],
  ['system calls', 'Seccomp: 2'],
];

/** Where a sandbox leaks this runs on the bare machine, so it touches canaries only: no signal to groups, no file of the system. */
const shellAttack = ({ file, folder, victim }: Canaries) => `
cat '${file}'
cat /proc/*/environ | tr '\\0' '\\n'
echo x > '${folder}/written'
kill -9 ${victim.pid}
echo "interfaces: $(grep -o '[a-z0-9]*:' /proc/net/dev | tr -d ':' | tr '\\n' ' ' | sed 's/ *$//')"
grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' '
(i=0; while [ $i -lt 64 ]; do sleep 1 & i=$((i+1)); done) || echo 'a fork failed'
echo ended
`;

const PYTHON_ATTACKS = {
  tcp: ({ port }: Canaries) => `connect(socket.AF_INET, ('127.0.0.1', ${port}))`,
  'abstract socket': ({ abstractSocket }: Canaries) => `connect(socket.AF_UNIX, '\\0${abstractSocket}')`,
  ptrace: () => 'libc.ptrace(0, 0, 0, 0) == 0',
  unshare: () => 'libc.unshare(0x10000000) == 0',
};
export type PythonAttack = keyof typeof PYTHON_ATTACKS;

const pythonAttack = (canaries: Canaries, attacks: readonly PythonAttack[]) => `
import ctypes, socket
def attempt(what, body):
    try:
        print(what + (': done' if body() else ': refused'))
    except OSError:
        print(what + ': refused')
def connect(family, address):
    s = socket.socket(family)
    s.settimeout(2)
    s.connect(address)
    return True
libc = ctypes.CDLL(None)
${attacks.map((what) => `attempt('${what}', lambda: ${PYTHON_ATTACKS[what](canaries)})`).join('\n')}
`;
