import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { quickjs } from '../src/index.js';
import { testSandbox } from '../src/testing/index.js';
import { oneInEight, testAttacks } from './attacks/attack.js';
import { javascriptAttacks } from './attacks/javascript.js';

const sandbox = quickjs();
const run = (code: string, more = {}) => sandbox.run({ language: 'javascript', code, ...more });

testSandbox(it, sandbox);
testAttacks(sandbox, 'javascript', oneInEight(javascriptAttacks), () => undefined);

describe('quickjs', () => {
  it.each([
    ['a script in sloppy mode', 'x = 5; print(x, typeof this)', '5 object'],
    ['a module, where the text is none of a script', "import { y } from './lib/y.js'; await 0; print(y)", '7'],
    ['a module from a script', "import('lib/y.js').then(({ y }) => print(y))", '7'],
    [
      "Node's assert",
      "const assert = require('node:assert'); assert.deepEqual({ a: [1] }, { a: [1] }); assert.throws(() => assert.strictEqual(1, '1')); print('ok')",
      'ok',
    ],
    [
      'values as texts',
      "console.log('a', 1, { b: [2n] }, null, undefined, Symbol('s'))",
      'a 1 {"b":["2n"]} null undefined Symbol(s)',
    ],
    ['a recursion as deep as programs have', 'const f = (n) => (n === 0 ? 0 : 1 + f(n - 1)); print(f(3000))', '3000'],
  ])('runs %s', async (_, code, output) => {
    const files = { 'lib/y.js': "export { z as y } from './z.js'", 'lib/z.js': 'export const z = 7' };
    expect(await run(code, { files })).toMatchObject({ exitCode: 0, stdout: `${output}\n`, stderr: '' });
  });

  it.each([
    ['an error with its place', 'null.x', /TypeError.*\n.*main\.js/],
    ['a syntax error', 'x = = 1', /SyntaxError/],
    ['a rejected module', "await 0; throw new RangeError('r')", /RangeError: r/],
    ['an assertion', "require('assert').deepEqual([1], [2])", /AssertionError: deepEqual: \[1\] and \[2\]/],
    ['what is no error', 'throw 7', /Uncaught 7/],
    ['a module that waits for nothing', 'await new Promise(() => {})', /never/],
  ])('says of %s what it is', async (_, code, message) => {
    const result = await run(code);
    expect(result.stderr).toMatch(message);
    expect(result.exitCode).toBeGreaterThan(0);
  });

  it('leaves no folder behind', async () => {
    const folders = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('sandbox-quickjs-'));
    await run('for (;;);', { limits: { wallMs: 300 } });
    expect(await folders()).toEqual([]);
  });

  // V8's limits do not count WebAssembly's memory; the module's own maximum does.
  it.each([24, 64])('has the memory of its limit and no more: %i MiB', async (mebibytes) => {
    const code =
      'let n = 0; const kept = []; try { for (;;) { kept.push(new ArrayBuffer(2 ** 18)); n++; } } catch {} kept.length = 0; print(n / 4);';
    const { stdout } = await run(code, { limits: { memoryBytes: mebibytes * 2 ** 20, wallMs: 30_000 } });
    expect(Number(stdout)).toBeGreaterThan(mebibytes / 2 - 8);
    expect(Number(stdout)).toBeLessThanOrEqual(mebibytes);
  });
});
