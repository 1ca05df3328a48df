import type { Canaries } from '../canaries.js';

/** What the kit runs in a language; each prints what the kit then reads. */
export interface Programs {
  /** Prints "out" and "in: " with the line that it reads, and "err" to standard error. */
  readonly speaks: string;
  /** Prints the contents of `lib/part.txt`. */
  readonly readsFile: string;
  /** Ends as a failure that says "on purpose". */
  readonly fails: string;
  readonly neverEnds: string;
  readonly floods: string;
  /** Prints "had 1 GiB" if it could have it. */
  readonly takesMemory: string;
  /** Leaves a global and a file, and prints "found" when it finds those of a run before. */
  readonly leavesTraces: string;
  /** Prints what it can reach of the canaries and of the environment, in every way that it knows. */
  attack(canaries: Canaries): string;
}

const text = JSON.stringify;

const javascript: Programs = {
  speaks: "console.log('out'); console.error('err'); console.log('in: ' + readline());",
  readsFile: "console.log(read('lib/part.txt'));",
  fails: "throw new Error('on purpose');",
  neverEnds: 'for (;;);',
  floods: "for (;;) console.log('x'.repeat(100));",
  takesMemory: `
const kept = [];
for (let i = 0; i < 256; i++) kept.push(new Uint8Array(4 * 2 ** 20).fill(1));
console.log('had 1 GiB');`,
  leavesTraces: `
let found = globalThis.trace === 1;
try { found ||= read('trace.txt') !== undefined; } catch {}
console.log(found ? 'found' : 'nothing');
globalThis.trace = 1;
Object.prototype.trace = 1;
try { require('fs').writeFileSync('trace.txt', '1'); } catch {}`,
  attack: ({ file, folder, port, victim }) => `
const hosts = [];
for (const root of [globalThis, this, console.log, Error('x'), typeof require === 'function' ? require : print]) {
  try { hosts.push(root.constructor.constructor('return process')()); } catch {}
}
const tries = [
  () => read(${text(file)}),
  () => require('fs').readFileSync(${text(file)}, 'utf8'),
  () => require('fs').writeFileSync(${text(`${folder}/written`)}, 'x'),
  () => fetch('http://127.0.0.1:${port}').catch(() => {}),
  () => Deno.readTextFileSync(${text(file)}),
  ...hosts.flatMap((host) => [
    () => JSON.stringify(host.env),
    () => host.mainModule.require('fs').readFileSync(${text(file)}, 'utf8'),
    () => host.getBuiltinModule('fs').readFileSync(${text(file)}, 'utf8'),
    () => host.kill(${victim.pid}, 'SIGKILL'),
  ]),
];
for (const attempt of tries) try { console.log(attempt()); } catch {}
for (const name of ['fs', 'node:fs', 'std']) import(name).then((module) => console.log(module.readFileSync?.(${text(file)}, 'utf8') ?? module.loadFile(${text(file)})), () => {});
`,
};

const python: Programs = {
  speaks: "import sys; print('out'); print('err', file=sys.stderr); print('in: ' + input())",
  readsFile: "print(open('lib/part.txt').read())",
  fails: "raise ValueError('on purpose')",
  neverEnds: 'while True: pass',
  floods: "while True: print('x' * 100)",
  takesMemory: "kept = [b'x' * (4 << 20) for _ in range(256)]; print('had 1 GiB')",
  leavesTraces: `
import os
places = ['trace.txt', '/tmp/trace.txt', '/dev/shm/trace', '/var/tmp/trace']
print('found' if any(os.path.exists(place) for place in places) else 'nothing')
for place in places:
    try: open(place, 'w').close()
    except OSError: pass`,
  attack: ({ abstractSocket, file, folder, port, victim }) => `
import glob, os, socket
def connect(family, address):
    s = socket.socket(family); s.settimeout(2); s.connect(address)
for attempt in [
    lambda: open(${text(file)}).read(),
    lambda: open(${text(`${folder}/written`)}, 'w').close(),
    lambda: dict(os.environ),
    *[lambda path=path: open(path).read() for path in glob.glob('/proc/*/environ')],
    lambda: connect(socket.AF_INET, ('127.0.0.1', ${port})),
    lambda: connect(socket.AF_UNIX, '\\0${abstractSocket}'),
    lambda: os.kill(${victim.pid}, 9),
]:
    try: print(attempt())
    except Exception: pass
`,
};

/** The languages that the kit speaks. */
export const PROGRAMS: Readonly<Record<string, Programs>> = { javascript, python };
