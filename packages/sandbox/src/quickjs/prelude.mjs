// Runs inside QuickJS, before the program, with functions of the host that take and give texts only.
// What is here is no wall: a program may change all of it and has gained nothing.
export const PRELUDE = String.raw`(write, readLine, readFile) => {
  const show = (value) => {
    if (typeof value === 'string') return value;
    if (value instanceof Error) return String(value.stack ? value + '\n' + value.stack : value);
    if (typeof value === 'object' && value !== null) {
      try {
        return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? part + 'n' : part)) ?? String(value);
      } catch {}
    }
    return typeof value === 'symbol' || typeof value === 'function' ? value.toString() : String(value);
  };
  const printer = (descriptor) => (...values) => write(descriptor, values.map(show).join(' ') + '\n');
  const out = printer(1);
  const err = printer(2);

  class AssertionError extends Error {
    constructor(message) {
      super(message);
      this.name = 'AssertionError';
      this.code = 'ERR_ASSERTION';
    }
  }
  const fail = (message, fallback) => {
    if (message instanceof Error) throw message;
    throw new AssertionError(message ?? fallback);
  };
  const keysOf = (value) => Reflect.ownKeys(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key));
  const equal = (a, b, strict, seen = []) => {
    if (Object.is(a, b) || (!strict && a == b)) return true;
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return strict ? false : a === b;
    if (strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
    if (seen.some(([x, y]) => x === a && y === b)) return true;
    const within = [...seen, [a, b]];
    const tag = Object.prototype.toString.call(a);
    if (tag !== Object.prototype.toString.call(b) || Array.isArray(a) !== Array.isArray(b)) return false;
    if (a instanceof Date && a.getTime() !== b.getTime()) return false;
    if (a instanceof RegExp && String(a) !== String(b)) return false;
    if (a instanceof Error && (a.message !== b.message || a.name !== b.name)) return false;
    if ((a instanceof Number || a instanceof String || a instanceof Boolean) && !Object.is(a.valueOf(), b.valueOf())) return false;
    if (a instanceof Set || a instanceof Map) {
      if (a.size !== b.size) return false;
      const rest = [...b];
      for (const item of a) {
        const i = rest.findIndex((other) => equal(item, other, strict, within));
        if (i < 0) return false;
        rest.splice(i, 1);
      }
    }
    const [keys, others] = [keysOf(a), keysOf(b)];
    return keys.length === others.length && keys.every((key) => others.includes(key) && equal(a[key], b[key], strict, within));
  };
  const assertion = (name, holds) => (a, b, message) => {
    if (!holds(a, b)) fail(message, name + ': ' + show(a) + ' and ' + show(b));
  };
  const pair = (strict) => ({
    equal: assertion('equal', (a, b) => (strict ? Object.is(a, b) : a == b || (a !== a && b !== b))),
    notEqual: assertion('notEqual', (a, b) => !(strict ? Object.is(a, b) : a == b || (a !== a && b !== b))),
    deepEqual: assertion('deepEqual', (a, b) => equal(a, b, strict)),
    notDeepEqual: assertion('notDeepEqual', (a, b) => !equal(a, b, strict)),
  });
  const [loose, strictly] = [pair(false), pair(true)];
  const ok = (value, message) => value || fail(message, 'not true: ' + show(value));
  const throws = (body, expected, message) => {
    try {
      body();
    } catch (error) {
      const is = typeof expected === 'function' && (expected === error?.constructor || error instanceof expected);
      const matches = expected instanceof RegExp && expected.test(String(error));
      if (expected === undefined || typeof expected === 'string' || is || matches) return;
      if (typeof expected === 'object' && !(expected instanceof RegExp) && Object.keys(expected).every((key) => equal(error[key], expected[key], true))) return;
      throw error;
    }
    fail(typeof expected === 'string' ? expected : message, 'nothing was thrown');
  };
  const common = {
    ok, throws, AssertionError,
    fail: (message) => fail(message, 'failed'),
    strictEqual: strictly.equal, notStrictEqual: strictly.notEqual,
    deepStrictEqual: strictly.deepEqual, notDeepStrictEqual: strictly.notDeepEqual,
  };
  const assert = Object.assign((value, message) => ok(value, message), common, loose);
  assert.strict = Object.assign((value, message) => ok(value, message), common, strictly);
  assert.strict.strict = assert.strict;

  Object.assign(globalThis, {
    print: out,
    readline: () => readLine(),
    read: (path) => readFile(String(path)),
    console: {
      log: out, info: out, debug: out, warn: err, error: err, trace: err,
      assert: (holds, ...values) => holds || err('Assertion failed' + (values.length > 0 ? ':' : ''), ...values),
    },
    // Solutions often end so.
    module: { exports: {} },
    exports: {},
    require: (name) => {
      const found = { assert, 'assert/strict': assert.strict }[String(name).replace(/^node:/, '')];
      if (!found) throw new Error("Cannot find module '" + name + "': a sandbox has node:assert only");
      return found;
    },
  });
}`;
