// `npx tsx scripts/cross-kernels.ts [--out FOLDER] [PLATFORM …]`: compiles the kernels of packages/core-tensor/native for all
// platforms from any, with the C compiler in the wheel `ziglang` (Python's pip installs it; nothing is run that it did not bring).
// On Linux with qemu-user, `--check` also runs the check program of Arm (packages/core-tensor/native/check).
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compileKernels, libraryName, native } from './build-kernels.mjs';
import { platformOf } from './native-files.js';
import { root } from './workspace.js';

/** The version of Zig, whose C compiler is Clang with the C libraries of all targets. */
const ZIG_VERSION = '0.17.1';

/** What is compiled for, by `process.platform`-`process.arch`; `-musl` is Linux with musl. */
export const TARGETS = {
  'darwin-arm64': 'aarch64-macos',
  'darwin-x64': 'x86_64-macos',
  // The oldest C library that ONNX Runtime 1.30 runs on.
  'linux-arm64': 'aarch64-linux-gnu.2.28',
  'linux-arm64-musl': 'aarch64-linux-musl',
  'linux-x64': 'x86_64-linux-gnu.2.28',
  'linux-x64-musl': 'x86_64-linux-musl',
  'win32-arm64': 'aarch64-windows-gnu',
  'win32-x64': 'x86_64-windows-gnu',
} as const;
export type KernelPlatform = keyof typeof TARGETS;

/** The command line of Zig, from the environment (`ZIG`), or installed on first use; or a sentence about why there is none. */
export function findZig(): readonly string[] | { readonly missing: string } {
  if (process.env.ZIG) return [process.env.ZIG];
  const folder = join(root, 'node_modules', '.cache', `ziglang-${ZIG_VERSION}`);
  const binary = join(folder, 'ziglang', process.platform === 'win32' ? 'zig.exe' : 'zig');
  if (existsSync(binary)) return [binary];
  const python = ['python3', 'python'].find((name) => spawnSync(name, ['-m', 'pip', '--version']).status === 0);
  if (python === undefined) return { missing: 'Python with pip was not found, which installs the wheel ziglang' };
  // Beside, then renamed: a killed installation is no installation.
  const made = `${folder}.${process.pid}`;
  const wanted = ['--no-deps', '--only-binary', ':all:', '--disable-pip-version-check', '--quiet'];
  const { status, stderr } = spawnSync(
    python,
    ['-m', 'pip', 'install', ...wanted, '--target', made, `ziglang==${ZIG_VERSION}`],
    { encoding: 'utf8' },
  );
  if (status !== 0) {
    rmSync(made, { recursive: true, force: true });
    return { missing: `pip could not install ziglang ${ZIG_VERSION}: ${stderr.trim().split('\n').at(-1)}` };
  }
  if (!existsSync(binary)) renameSync(made, folder);
  else rmSync(made, { recursive: true, force: true });
  return [binary];
}

/** Compiles for a platform into `output`. Throws where that fails. */
export function crossCompile(platform: KernelPlatform, output: string, program?: string): void {
  const zig = findZig();
  if ('missing' in zig) throw new Error(`cannot compile the kernels for ${platform}: ${zig.missing}`);
  // The linker of Windows writes more files beside the library.
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  try {
    const made = join(folder, 'made');
    const flags = ['cc', '-target', TARGETS[platform], '-s', ...(program ? ['-static'] : [])];
    const problem = compileKernels([...zig, ...flags], made, program);
    if (problem !== undefined) throw new Error(`cannot compile the kernels for ${platform}: ${problem}`);
    const [os, cpu] = platform.split('-');
    if (platformOf(made) !== `${os}-${cpu}`) throw new Error(`the kernels for ${platform} are for ${platformOf(made)}`);
    mkdirSync(join(output, '..'), { recursive: true });
    rmSync(output, { force: true });
    copyFileSync(made, output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the check program says on an emulated Arm processor; or a sentence about why it was not run. */
export function checkOnArm(): { readonly output: string } | { readonly missing: string } {
  if (spawnSync('qemu-aarch64', ['--version']).status !== 0)
    return { missing: 'qemu-aarch64 (qemu-user) was not found' };
  const zig = findZig();
  if ('missing' in zig) return zig;
  const folder = mkdtempSync(join(tmpdir(), 'kernels-check-'));
  try {
    const program = join(folder, 'check');
    crossCompile('linux-arm64-musl', program, join(native, 'check', 'check.c'));
    const { status, signal, stdout, stderr } = spawnSync('qemu-aarch64', [program, 'neon'], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`the check on Arm ended with ${status ?? signal}:\n${stdout}${stderr}`);
    return { output: stdout };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { out: { type: 'string' }, check: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const folder = resolve(values.out ?? join(native, 'build', 'cross'));
  const unknown = positionals.filter((name) => !(name in TARGETS));
  if (unknown.length > 0) throw new Error(`${unknown} is none of ${Object.keys(TARGETS).join(', ')}`);
  for (const platform of (positionals.length > 0 ? positionals : Object.keys(TARGETS)) as KernelPlatform[]) {
    const [os = '', cpu = '', libc] = platform.split('-');
    const file = join(folder, libraryName(os, libc ? `${cpu}-${libc}` : cpu));
    crossCompile(platform, file);
    console.log(`${platform}: ${(statSync(file).size / 1024).toFixed(0)} KiB`);
  }
  if (values.check) {
    const checked = checkOnArm();
    console.log('missing' in checked ? `not run on Arm: ${checked.missing}` : checked.output.trim());
  }
}
