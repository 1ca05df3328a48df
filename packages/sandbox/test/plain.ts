import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SandboxResult } from '@posttrain/interfaces';
import { findProgram } from '../src/find-program.js';

const INTERPRETERS: Readonly<Record<string, readonly [name: string, file: string]>> = {
  javascript: [process.execPath, 'main.cjs'],
  python: ['python3', 'main.py'],
};

/** What the names of the sandbox are in Node, so that a control is not held by a missing name. */
const NODE_NAMES = `
globalThis.print = console.log;
globalThis.read = (path) => require('fs').readFileSync(path, 'utf8');
globalThis.readline = () => null;
`;

/** The path of the interpreter that controls need; undefined where the machine has none. */
export const interpreterOf = (language: string): string | undefined => {
  const name = INTERPRETERS[language]![0];
  return name.includes('/') ? name : findProgram(name);
};

/** The control of an attack: the program in a plain child, without a sandbox. Only for attacks that harm nothing but canaries. */
export async function runPlain(language: string, code: string): Promise<SandboxResult> {
  const folder = await mkdtemp(join(tmpdir(), 'sandbox-control-'));
  try {
    const file = join(folder, INTERPRETERS[language]![1]);
    await writeFile(file, language === 'javascript' ? NODE_NAMES + code : code);
    const started = performance.now();
    const child = spawn(interpreterOf(language)!, [file], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const kept = ['', ''];
    child.stdout.on('data', (chunk) => {
      kept[0] += chunk;
    });
    child.stderr.on('data', (chunk) => {
      kept[1] += chunk;
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve));
    clearTimeout(timer);
    const output = { stdout: kept[0]!, stderr: kept[1]!, stdoutTruncated: false, stderrTruncated: false };
    return { exitCode, stoppedBy: null, ...output, wallMs: performance.now() - started };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
