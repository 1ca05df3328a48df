import { type Attack, failed, printed, stoppedBy } from './attack.js';

const text = JSON.stringify;
const MEBIBYTES = 2 ** 20;

/** Uses a host's `process`, however it was had: reads the canary. */
const use = (file: string) => `
const use = (host) => {
  const fs = host.getBuiltinModule ? host.getBuiltinModule('fs') : host.mainModule.require('fs');
  print(fs.readFileSync(${text(file)}, 'utf8'));
};`;

/** Ways to the host's `process`, by constructors of what a program finds. */
const chains: readonly (readonly [name: string, expression: string])[] = [
  ['the constructor of the global object', "this.constructor.constructor('return process')()"],
  ['the constructor of globalThis', "globalThis.constructor.constructor('return process')()"],
  ['the constructor of a host function', "print.constructor('return process')()"],
  ['the constructor of a method of the host', "console.log.constructor.constructor('return process')()"],
  [
    'the constructor of an error of the engine',
    "(() => { try { null.x } catch (e) { return e.constructor.constructor('return process')() } })()",
  ],
  [
    'the constructor of an error of the host',
    "(() => { try { require('no such module') } catch (e) { return e.constructor.constructor('return process')() } })()",
  ],
  ['the constructor of an async function', "(async () => {}).constructor.constructor('return process')()"],
  ['the constructor of a generator', "(function* () {}).constructor.constructor('return process')()"],
  [
    'the prototype of a prototype',
    "Object.getPrototypeOf(Object.getPrototypeOf(print)).constructor.constructor('return process')()",
  ],
  ['indirect eval', "(0, eval)('process')"],
  ['the caller of a callback', "[1].map(function f() { return f.constructor('return process')() })[0]"],
  [
    'a stack formatter',
    "(() => { let host; Error.prepareStackTrace = (_, frames) => { host = process; return ''; }; Error('x').stack; return host; })()",
  ],
];

export const javascriptAttacks: readonly Attack[] = [
  ...chains.map(
    ([name, expression]): Attack => ({
      name,
      code: ({ file }) => `${use(file)} use(${expression});`,
      control: true,
      holds: failed,
    }),
  ),
  {
    name: 'modules of Node by import',
    code: ({ file }) => `
for (const name of ['fs', 'node:fs', 'child_process', 'node:child_process', 'net', 'vm', 'module', 'worker_threads'])
  import(name).then((found) => {
    print('ESCAPED ' + name);
    if (found.readFileSync) print(found.readFileSync(${text(file)}, 'utf8'));
  }, () => {});`,
    control: true,
  },
  {
    name: 'modules of Node by require',
    code: ({ file }) => `
for (const name of ['fs', 'node:fs', 'child_process', 'net', 'vm'])
  try { const found = require(name); print('ESCAPED ' + name); if (found.readFileSync) print(found.readFileSync(${text(file)}, 'utf8')); } catch {}`,
    control: true,
  },
  {
    // Not part of Node, so without a control: QuickJS has these where they are built in.
    name: "QuickJS's std and os",
    code: ({ file }) => `
for (const name of ['std', 'os', 'qjs:std', 'qjs:os', 'bjson'])
  import(name).then((found) => print('ESCAPED ' + Object.keys(found)), () => {});
for (const name of ['std', 'os', 'bjson', 'scriptArgs', 'loadFile', '__loadScript', 'load'])
  if (name in globalThis) print('ESCAPED ' + name);
try { print(globalThis.std.loadFile(${text(file)})); } catch {}`,
  },
  {
    // Pyodide's way to JavaScript; without a control, since a program without Pyodide has none.
    name: 'run_js and other bridges',
    code: () => `
for (const name of ['run_js', 'pyodide', 'js', 'pyimport', 'Deno', 'Bun', 'Module', 'FS', 'ENV', 'HEAP8', 'wasmMemory', 'WebAssembly', 'SharedWorker', 'Worker', 'postMessage', 'importScripts', 'window', 'self', 'global', 'process', 'Buffer'])
  if (name in globalThis) print('ESCAPED ' + name);`,
  },
  {
    name: 'files by path',
    code: ({ file, folder }) => `
for (const path of [${text(file)}, '../../../../../../../..' + ${text(file)}, 'file://' + ${text(file)}]) {
  try { print(read(path)); } catch {}
  import(path).then((found) => print('ESCAPED ' + Object.keys(found)), (error) => print(error.message));
}
try { require('fs').writeFileSync(${text(`${folder}/written`)}, 'x'); } catch {}`,
    control: true,
  },
  {
    name: 'other processes',
    code: ({ folder, victim }) => `
try { process.kill(${victim.pid}, 'SIGKILL'); } catch {}
try { require('child_process').execSync(${text(`echo x > ${folder}/written`)}); } catch {}`,
    control: true,
  },
  {
    name: 'network',
    code: ({ port }) => `
try { fetch('http://127.0.0.1:${port}').catch(() => {}); } catch {}
try { require('net').connect(${port}, '127.0.0.1').on('error', () => {}); } catch {}
for (const name of ['fetch', 'XMLHttpRequest', 'WebSocket', 'EventSource', 'navigator'])
  if (name in globalThis) print('ESCAPED ' + name);`,
    control: true,
  },
  {
    name: 'reports of the sandbox by a changed prototype',
    code: () => `
const end = { exitCode: 0, stoppedBy: null, cpuMs: 1 };
for (const [key, value] of Object.entries(end)) Object.prototype[key] = value;
Object.prototype.toJSON = () => end;
Array.prototype.toJSON = () => end;
String.prototype.toString = () => JSON.stringify(end);
JSON.stringify = () => '{"exitCode":0,"stoppedBy":null,"cpuMs":1}';
throw new Error('x');`,
    holds: failed,
  },
  {
    name: 'output that looks like a report',
    code: () => `
const end = '{"exitCode":0,"stoppedBy":null,"cpuMs":1}';
for (const say of [print, console.error]) for (const before of ['', '\\n', '\\0', '\\x1b', end]) say(before + end);
throw new Error(end);`,
    holds: failed,
  },
  {
    name: 'a thrown value whose parts never end',
    code: () => 'throw { get name() { for (;;); }, get message() { for (;;); }, toString() { for (;;); } };',
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  { name: 'an endless loop', code: () => 'for (;;);', limits: { wallMs: 1500 }, holds: stoppedBy('wall-time') },
  {
    name: 'a loop that catches everything',
    code: () => 'for (;;) try { for (;;); } catch {} finally { continue; }',
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  {
    name: 'endless microtasks',
    code: () => '(function again() { Promise.resolve().then(again); })();',
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  { name: 'processor time', code: () => 'for (;;);', limits: { cpuMs: 1000 }, holds: stoppedBy('cpu-time') },
  {
    name: 'a sleep past the limit',
    code: () => 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);',
    limits: { wallMs: 1500 },
    holds: failed,
  },
  {
    name: 'a regular expression without an end',
    code: () => "/^(a+)+$/.exec('a'.repeat(50) + 'b');",
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  {
    name: 'a large regular expression',
    code: () => "new RegExp('(?:' + 'a?'.repeat(50_000) + '){1000}').exec('a'.repeat(50_000));",
    limits: { wallMs: 3000 },
  },
  {
    name: 'a sort that takes long in native code',
    code: () => 'new Array(5e6).fill(0).map((_, i) => -i).sort((a, b) => a - b);',
    limits: { wallMs: 1500 },
    holds: failed,
  },
  {
    name: 'native code that does not look at the clock',
    // Nothing is interpreted meanwhile, so only the kill of the process ends it.
    code: () => "const s = 'a'.repeat(2 ** 22); for (;;) s.indexOf('a'.repeat(2 ** 21) + 'b');",
    limits: { wallMs: 1500 },
    holds: stoppedBy('wall-time'),
  },
  {
    name: 'memory in small pieces',
    code: () => 'const kept = []; for (;;) kept.push({ i: kept.length });',
    limits: { memoryBytes: 32 * MEBIBYTES },
    holds: stoppedBy('memory', 'wall-time'),
  },
  {
    name: 'memory in array buffers',
    code: () => `
let most = 0;
for (let size = 2 ** 34; size > 1024; size /= 2)
  for (const make of [(n) => new ArrayBuffer(n), (n) => new SharedArrayBuffer(n), (n) => new Float64Array(n / 8)])
    try { make(size); most = Math.max(most, size); } catch {}
print(most < 2 ** 25 ? 'held' : 'ESCAPED ' + most);`,
    limits: { memoryBytes: 32 * MEBIBYTES },
    holds: printed(/^held$/m),
  },
  {
    name: 'memory in one text',
    code: () =>
      "let s = 'x'; try { for (;;) s = s.repeat(2); } catch (error) { print(s.length < 2 ** 26 ? 'held' : 'ESCAPED'); }",
    limits: { memoryBytes: 64 * MEBIBYTES },
    holds: printed(/^held$/m),
  },
  {
    name: 'memory that is caught and asked for again',
    code: () => 'const kept = []; for (;;) try { for (;;) kept.push(new ArrayBuffer(2 ** 20)); } catch {}',
    limits: { memoryBytes: 32 * MEBIBYTES, wallMs: 2500 },
    holds: stoppedBy('memory', 'wall-time'),
  },
  { name: 'a deep recursion', code: () => 'function f() { return f() + 1; } f();', holds: failed },
  {
    name: 'a deep recursion through native code',
    code: () => 'const p = new Proxy({}, { get: (t, k, r) => Reflect.get(r, k, r) }); p.x;',
    holds: failed,
  },
  { name: 'a deep text of JSON', code: () => "JSON.parse('['.repeat(1e6));", holds: failed },
  { name: 'a deep expression', code: () => "eval('(1+'.repeat(1e5) + '1' + ')'.repeat(1e5));", holds: failed },
  {
    name: 'output without an end',
    code: () => "for (;;) print('x'.repeat(1e5));",
    limits: { outputBytes: 10_000 },
    holds: stoppedBy('output'),
  },
  {
    name: 'errors without an end',
    code: () => "for (;;) console.error('x');",
    limits: { outputBytes: 10_000 },
    holds: stoppedBy('output'),
  },
  {
    name: 'one enormous line',
    code: () => "print('x'.repeat(2 ** 27));",
    limits: { outputBytes: 10_000 },
    holds: stoppedBy('output', 'memory'),
  },
  {
    name: 'rejections that nobody handles',
    code: () => "Promise.reject(new Error('x')); (async () => { throw 1; })(); print('end');",
    holds: printed(/^end$/m),
  },
  {
    name: 'texts that are no texts',
    code: () => "print('\\ud800', '\\0', '\\uffff'); read({ toString() { throw 1; } });",
    holds: failed,
  },
  {
    name: 'arguments that the host does not expect',
    code: () => `
for (const value of [Symbol('x'), null, undefined, {}, 2n ** 64n, NaN, () => {}, new Proxy({}, {}), Object.create(null)])
  for (const ask of [print, read, readline, require, console.log, console.assert])
    try { ask(value, value, value); } catch {}
print('end');`,
    holds: printed(/^end$/m),
  },
];
