import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const text = (program: string, ...args: string[]): string =>
  spawnSync(program, args, { encoding: 'utf8' }).stdout ?? '';

/** Folders of the `nvidia-*` wheels of a Python. */
const IN_PYTHON =
  'import glob, sys; print("\\n".join(d for p in sys.path for d in glob.glob(p + "/nvidia/*/lib") + glob.glob(p + "/torch/lib")))';

/**
 * A shared library by the beginning of its file name: known to the loader, of a CUDA toolkit, or in a Python package.
 *
 * @throws Error that lists where it was looked for
 */
export function findLibrary(name: string, python = process.env.PYTHON ?? 'python3'): string {
  const known = text('sh', '-c', 'ldconfig -p || /sbin/ldconfig -p').match(new RegExp(`${name}[^ ]* .*=> (\\S+)`));
  if (known) return known[1]!;
  const folders = [
    ...(process.env.LD_LIBRARY_PATH ?? '').split(':'),
    ...['/usr/local/cuda/lib64', '/usr/lib/x86_64-linux-gnu', '/usr/local/nvidia/lib64'],
    ...text(python, '-c', IN_PYTHON).split('\n'),
  ].filter((folder) => folder !== '' && existsSync(folder));
  for (const folder of folders) {
    const file = readdirSync(folder).find((entry) => entry.startsWith(name));
    if (file) return join(folder, file);
  }
  throw new Error(`there is no ${name} known to the loader or in ${folders.join(', ')}`);
}
