/** Runs one block of a PTX program of 4 warps in lockstep: just what `ptxMatmul` uses. Registers hold numbers. */

import { fromBfloat16 } from './native.js';

const THREADS = 128;

export interface EmulatedMemory {
  readonly a: Uint16Array;
  readonly b: Uint16Array;
  readonly c: Float32Array;
}

/** Addresses of the three arrays. */
const BASES = { a: 2 ** 32, b: 2 ** 33, c: 2 ** 34 };

/**
 * `late`: asynchronous copies happen when they are waited for, else when they are issued. A program that is right gives
 * the same with both.
 *
 * @throws Error for an instruction or an access outside the arrays that it does not know
 */
export function emulateBlock(
  ptx: string,
  memory: EmulatedMemory,
  { n, k, block, late }: { n: number; k: number; block: readonly [number, number]; late: boolean },
): void {
  const lines = ptx
    .slice(ptx.indexOf('{') + 1)
    .split('\n')
    .map((line) => line.trim().replace(/;$/, ''))
    .filter((line) => line !== '' && line !== '}' && !line.startsWith('.'));
  const labels = new Map(lines.flatMap((line, i) => (line.endsWith(':') ? [[line.slice(0, -1), i] as const] : [])));
  const registers = new Map<string, Float64Array>();
  const shared = new Uint16Array(49_152 / 2);
  const parameters: Record<string, number> = { ...BASES, n, k };
  const constants: Record<string, (thread: number) => number> = {
    '%tid.x': (thread) => thread,
    '%ctaid.x': () => block[0],
    '%ctaid.y': () => block[1],
    tiles: () => 0,
  };
  const register = (name: string): Float64Array => {
    const known = registers.get(name) ?? new Float64Array(THREADS);
    registers.set(name, known);
    return known;
  };
  const value = (operand: string, thread: number): number =>
    constants[operand]?.(thread) ?? (operand.startsWith('%') ? register(operand)[thread]! : Number(operand));
  const set = (target: string, of: (thread: number) => number): void => {
    const result = Float64Array.from({ length: THREADS }, (_, thread) => of(thread));
    register(target).set(result);
  };
  /** `[%r+12]`. */
  const address = (operand: string, thread: number): number => {
    const [, base, offset = '0'] = /^\[(%\w+)(?:\+(\d+))?\]$/.exec(operand)!;
    return value(base!, thread) + Number(offset);
  };
  const list = (operand: string): string[] => operand.slice(1, -1).split(/,\s*/);
  const global = (at: number): [Uint16Array, number] => {
    const array = at >= BASES.b ? memory.b : memory.a;
    const index = (at - (at >= BASES.b ? BASES.b : BASES.a)) / 2;
    if (at >= BASES.c || index < 0 || index + 8 > array.length) throw new Error(`a read outside the factors: ${at}`);
    return [array, index];
  };

  let [open, groups]: [(() => void)[], (() => void)[][]] = [[], []];
  const half = (bits: number, part: number) => fromBfloat16(part === 0 ? bits & 0xffff : bits >>> 16);

  /** The tiles' layouts in registers are those of the PTX manual. */
  const multiply = (operands: readonly string[][]): void => {
    const [d, a, b, c] = operands.map((names) => names.map(register)) as [
      Float64Array[],
      Float64Array[],
      Float64Array[],
      Float64Array[],
    ];
    for (let warp = 0; warp < THREADS; warp += 32) {
      const left = (row: number, at: number) =>
        half(a[(row >= 8 ? 1 : 0) + (at >= 8 ? 2 : 0)]![warp + 4 * (row % 8) + Math.floor((at % 8) / 2)]!, at % 2);
      const right = (at: number, column: number) =>
        half(b[at >= 8 ? 1 : 0]![warp + 4 * column + Math.floor((at % 8) / 2)]!, at % 2);
      const columns = Array.from({ length: 8 }, (_, column) =>
        Array.from({ length: 16 }, (__, at) => right(at, column)),
      );
      for (let row = 0; row < 16; row++) {
        const factors = Array.from({ length: 16 }, (_, at) => left(row, at));
        columns.forEach((column, j) => {
          const thread = warp + 4 * (row % 8) + Math.floor(j / 2);
          const part = (row >= 8 ? 2 : 0) + (j % 2);
          const product = factors.reduce((sum, factor, at) => sum + factor * column[at]!, 0);
          d[part]![thread] = c[part]![thread]! + product;
        });
      }
    }
  };

  const arithmetic: Record<string, (x: number, y: number) => number> = {
    'add.u32': (x, y) => (x + y) >>> 0,
    'sub.u32': (x, y) => (x - y) >>> 0,
    'add.u64': (x, y) => x + y,
    'and.b32': (x, y) => (x & y) >>> 0,
    'xor.b32': (x, y) => (x ^ y) >>> 0,
    'shl.b32': (x, y) => (x << y) >>> 0,
    'shr.u32': (x, y) => x >>> y,
    'shl.b64': (x, y) => x * 2 ** y,
    'mul.wide.u32': (x, y) => x * y,
    'setp.ge.u32': (x, y) => Number(x >= y),
    'setp.eq.u32': (x, y) => Number(x === y),
    'setp.lt.u32': (x, y) => Number(x < y),
  };

  for (let at = 0; at < lines.length; at++) {
    const [, guard, op, rest = ''] = /^(?:@(%\w+)\s+)?(\S+)\s*(.*)$/.exec(lines[at]!)!;
    const operands = rest.match(/\{[^}]*\}|\[[^\]]*\]|[^,\s]+/g) ?? [];
    const [target, x, y] = operands;
    const runs = (thread: number) => guard === undefined || value(guard, thread) !== 0;
    if (op === 'bra') {
      if (runs(0)) at = labels.get(target!)!;
    } else if (op! in arithmetic) {
      const f = arithmetic[op!]!;
      const before = register(target!);
      set(target!, (t) => (runs(t) ? f(value(x!, t), value(y!, t)) : before[t]!));
    } else if (op!.startsWith('ld.param')) {
      set(target!, () => parameters[x!.slice(1, -1)]!);
    } else if (/^(mov\.u32|cvta?\.)/.test(op!)) {
      set(target!, (t) => value(x!, t));
    } else if (op === 'mov.f32') {
      set(target!, () => 0);
    } else if (op!.startsWith('cp.async.cg')) {
      for (let t = 0; t < THREADS; t++) {
        const [to, [array, from]] = [address(target!, t) / 2, global(address(x!, t))];
        const copy = () => shared.set(array.subarray(from, from + 8), to);
        if (late) open.push(copy);
        else copy();
      }
    } else if (op === 'cp.async.commit_group') {
      groups.push(open);
      open = [];
    } else if (op === 'cp.async.wait_group') {
      const finished = groups.length - Number(target);
      for (const copy of groups.slice(0, Math.max(0, finished)).flat()) copy();
      groups = groups.slice(Math.max(0, finished));
    } else if (op!.startsWith('ldmatrix')) {
      list(target!).forEach((name, matrix) => {
        set(name, (t) => {
          const lane = t % 32;
          const row = address(x!, t - lane + 8 * matrix + (lane >> 2)) / 2 + 2 * (lane & 3);
          return shared[row]! + shared[row + 1]! * 65_536;
        });
      });
    } else if (op!.startsWith('mma.sync')) {
      multiply(operands.map(list));
    } else if (op!.startsWith('st.global')) {
      for (let t = 0; t < THREADS; t++) {
        const to = (address(target!, t) - BASES.c) / 4;
        if (to < 0 || to + 2 > memory.c.length) throw new Error(`a write outside the result: ${to}`);
        list(x!).forEach((name, i) => {
          memory.c[to + i] = value(name, t);
        });
      }
    } else if (op === 'ret') {
      return;
    } else if (!op!.endsWith(':') && op !== 'bar.sync') {
      throw new Error(`the emulator does not know ${lines[at]}`);
    }
  }
}
