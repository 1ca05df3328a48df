import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkOnArm, crossCompile, findZig, type KernelPlatform, TARGETS } from '../../../scripts/cross-kernels.js';

const sources = new URL('../', import.meta.url);
const textOf = (file: string) => readFileSync(new URL(file, sources), 'utf8');

// ONNX Runtime's own header is in no registry that npm, pip or Maven reach for this version; the crate `ort-sys` declares the same
// interface, in the same order, each member with the version that it came with.
describe("ONNX Runtime's C interface, declared by hand", () => {
  const [CRATE, VERSION] = ['ort-sys', '2.0.0-rc.15'];
  /** Our interface is version 30's; what the crate says came later does not count. */
  const RUNTIME = 30;

  const crate = (): string | undefined => {
    const { status } = spawnSync('cargo', ['info', `${CRATE}@${VERSION}`], { cwd: tmpdir(), stdio: 'ignore' });
    if (status !== 0) return undefined;
    const registry = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry', 'src');
    const files = readdirSync(registry).map((name) => join(registry, name, `${CRATE}-${VERSION}`, 'src', 'lib.rs'));
    const file = files.find((path) => existsSync(path));
    return file === undefined ? undefined : readFileSync(file, 'utf8');
  };

  /** The members of a structure, in order. */
  const membersOf = (code: string, structure: string): string[] => {
    const body = new RegExp(`pub struct ${structure} \\{\\n([\\s\\S]*?)\\n\\}`).exec(code)?.[1] ?? '';
    const members: string[] = [];
    let conditions: string[] = [];
    for (const line of body.split('\n')) {
      const condition = /^\t#\[cfg\((.*)\)\]$/.exec(line)?.[1];
      if (condition !== undefined) conditions.push(condition);
      const member = /^\tpub (\w+):/.exec(line)?.[1];
      if (member === undefined) continue;
      const later = conditions.some((text) => Number(/^feature = "api-(\d+)"$/.exec(text)?.[1] ?? 0) > RUNTIME);
      if (!later && !conditions.some((text) => text.startsWith('all(target_family = "wasm"'))) members.push(member);
      conditions = [];
    }
    return members;
  };

  it('has every function at its place, and the structure of an operator', (context) => {
    const code = crate();
    if (code === undefined) return context.skip(`cargo could not fetch ${CRATE} ${VERSION}`);
    const table = membersOf(code, 'OrtApi');
    expect(table.length).toBeGreaterThan(400);
    const header = textOf('native/kernels/onnxruntime.h');
    const functions = [...header.matchAll(/^ {2}[A-Z_]+ = (\d+), {2}\/\/ (\w+)$/gm)];
    expect(functions.length).toBe(/PARALLEL_FOR/.test(header) ? 17 : 0);
    for (const [, position, name] of functions) expect([position, table[Number(position)]]).toEqual([position, name]);
    const members = [...header.slice(header.indexOf('struct OrtOperator {')).matchAll(/; {2}\/\/ (\w+)$/gm)];
    expect(members.map(([, name]) => name)).toEqual(membersOf(code, 'OrtCustomOp'));
    // The functions that TypeScript calls: those whose names are the same but for their first letter.
    const library = textOf('src/engines/onnxruntime/native/library.ts');
    const called = [...library.matchAll(/^ {2}(\w+): \[?\s*(\d+)/gm)].map(([, name, position]) => {
      return [`${name![0]!.toUpperCase()}${name!.slice(1)}`, Number(position)] as const;
    });
    const alike = called.filter(([name]) => table.includes(name));
    expect(alike.length).toBeGreaterThan(25);
    for (const [name, position] of alike) expect([name, table.indexOf(name)]).toEqual([name, position]);
  });
});

describe('the kernels from any machine', () => {
  const zig = findZig();

  it.for(Object.keys(TARGETS) as KernelPlatform[])('compile for %s', (platform, { skip }) => {
    if ('missing' in zig) return skip(zig.missing);
    const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
    try {
      crossCompile(platform, join(folder, 'library'));
      expect(readdirSync(folder)).toEqual(['library']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('multiply right on Arm, emulated', (context) => {
    const checked = checkOnArm();
    if ('missing' in checked) return context.skip(checked.missing);
    expect(checked.output).toMatch(/neon: 320 products, largest error/);
    expect(checked.output).toMatch(/neon: attention, largest error/);
    expect(checked.output).toMatch(/chains: largest error/);
    expect(checked.output).toMatch(/fastest: neon/);
  });
});
