// The process that runs one program in QuickJS, and is killed when it takes too long. It reads the job from standard input;
// descriptors 1 and 2 are the program's output, 3 is the report of how it ended, which no program can reach.
import { readFileSync, writeSync } from 'node:fs';
import releaseSync from '@jitl/quickjs-wasmfile-release-sync';
import { newQuickJSWASMModuleFromVariant, newVariant } from 'quickjs-emscripten-core';
import { PRELUDE } from './prelude.mjs';

const PAGE = 65536;
/** What the module starts with. */
const FIRST_PAGES = 256;

/** Lines of a stack that are shown, as Node shows them. */
const STACK_LINES = 10;

const job = JSON.parse(readFileSync(0, 'utf8'));

function writeAll(descriptor, text) {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      // The reader is slower than we are.
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

// The only wall that counts WebAssembly's memory: the engine refuses to grow it past its own maximum.
const maximum = Math.max(FIRST_PAGES, Math.floor(job.memoryBytes / PAGE));
const wasmMemory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum });
const quickjs = await newQuickJSWASMModuleFromVariant(newVariant(releaseSync, { wasmMemory }));
const files = new Map(Object.entries(job.files));
const lines = job.stdin.split('\n');
if (lines.at(-1) === '') lines.pop();

let stoppedBy = null;
/** The program's time begins when the interpreter is ready: a busy machine takes it from nobody. */
let deadline = Number.POSITIVE_INFINITY;
const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const runtime = quickjs.newRuntime({
  interruptHandler: () => {
    if (Date.now() >= deadline) stoppedBy = 'wall-time';
    else if (cpuMs() >= job.cpuMs) stoppedBy = 'cpu-time';
    return stoppedBy !== null;
  },
  maxStackSizeBytes: job.stackBytes,
});
runtime.setModuleLoader(
  (name) => files.get(name) ?? { error: new Error(`there is no file "${name}" in this job`) },
  (base, name) => resolvePath(base, name),
);
const vm = runtime.newContext();

/** `./b.js` in `lib/a.js` is `lib/b.js`. */
function resolvePath(base, name) {
  if (!name.startsWith('.')) return name;
  const parts = base.split('/').slice(0, -1);
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

const hostFunction = (name, body) => vm.newFunction(name, body);
const host = [
  hostFunction('write', (descriptor, text) => {
    writeAll(vm.getNumber(descriptor) === 2 ? 2 : 1, vm.getString(text));
  }),
  hostFunction('readLine', () => {
    const line = lines.shift();
    return line === undefined ? vm.null : vm.newString(line);
  }),
  hostFunction('readFile', (path) => {
    const content = files.get(vm.getString(path));
    return content === undefined ? { error: vm.newError('there is no such file in this job') } : vm.newString(content);
  }),
];
const prelude = vm.unwrapResult(vm.evalCode(PRELUDE, 'prelude'));
vm.unwrapResult(vm.callFunction(prelude, vm.undefined, ...host)).dispose();

/** A thrown value as Node shows it; reading it runs code of the program, within the same limits. */
function describe(handle) {
  const part = (name) => {
    const value = vm.getProp(handle, name);
    return vm.typeof(value) === 'string' ? vm.getString(value) : '';
  };
  if (vm.typeof(handle) !== 'object')
    return ['string', 'number'].includes(vm.typeof(handle)) ? vm.getString(handle) : vm.typeof(handle);
  const [name, message, stack] = [part('name'), part('message'), part('stack')];
  return { name, message, text: `${name}: ${message}\n${stack.split('\n', STACK_LINES).join('\n')}` };
}

function failed(error) {
  if (stoppedBy !== null) return 1;
  let found;
  try {
    found = describe(error);
  } catch {
    found = 'a value that cannot be shown';
  }
  // Where all is used up, there was none left to say so with: an error without a word. Growth is refused before all is had.
  const isMute = found.text !== undefined && `${found.name}${found.message}` === '';
  const isFull = isMute && wasmMemory.buffer.byteLength >= (maximum * PAGE) / 2;
  if (found.message === 'out of memory' || isFull) stoppedBy ??= 'memory';
  writeAll(2, `Uncaught ${found.text ?? found}\n`);
  return 1;
}

function run() {
  // As Node does: what does not parse as a script may be a module.
  const asScript = vm.evalCode(job.code, 'main.js', { type: 'global', compileOnly: true });
  const isScript = !asScript.error;
  const message = asScript.error ? describe(asScript.error) : '';
  const isSyntax = message.name === 'SyntaxError';
  const result = vm.evalCode(job.code, 'main.js', { type: isScript || !isSyntax ? 'global' : 'module' });
  if (result.error) return failed(result.error);
  while (runtime.hasPendingJob()) {
    const jobs = runtime.executePendingJobs();
    if (jobs.error) return failed(jobs.error);
  }
  if (isScript) return 0;
  const state = vm.getPromiseState(result.value);
  if (state.type === 'rejected') return failed(state.error);
  if (state.type === 'fulfilled') return 0;
  writeAll(2, 'Uncaught: the module waits for what will never come\n');
  return 13;
}

let exitCode;
// White space before the report: the sandbox begins to count too.
writeAll(3, '\n');
deadline = Date.now() + job.wallMs;
try {
  exitCode = run();
} catch (error) {
  // The stack of V8, or memory that QuickJS asked for and did not get: an error of the program's making.
  exitCode = 1;
  if (stoppedBy === null) writeAll(2, `Uncaught ${String(error).slice(0, 1000)}\n`);
}
writeAll(3, JSON.stringify({ exitCode, stoppedBy, cpuMs: cpuMs() }));
process.exit(0);
