import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { installTarballs } from '../install-tarballs.js';
import { packAll, packPlatform } from '../pack.js';
import { PLATFORMS, packageName } from '../platforms.js';
import { pnpm, run } from '../setup.mjs';

const proofs = import.meta.dirname;
/** What other programs there import. */
const SHARED = ['gridworld.mjs', 'proof.mjs', 'tiny.mjs'];
const own = `@posttrain/onnxruntime-${process.platform}-${process.arch}`;

// Outside the repository, so that nothing resolves into its node_modules.
const temporary = mkdtempSync(join(tmpdir(), 'posttrain-proofs-'));
const consumer = join(temporary, 'consumer');

// Every door as a stranger uses it: in a package of their own, under Node's test runner.
describe.runIf(PLATFORMS.map(packageName).includes(own))('from packed tarballs', () => {
  beforeAll(() => {
    const build = [...pnpm(), 'exec', 'turbo', 'run', 'build', '--output-logs=errors-only', '--ui=stream'];
    if (run(build) !== 0) throw new Error('the packages could not be built');
    installTarballs(consumer, packAll(join(temporary, 'tarballs')), {
      optional: [packPlatform(own, join(temporary, 'platform'))],
    });
    cpSync(proofs, join(consumer, 'proofs'), { recursive: true });
  }, 1_800_000);

  afterAll(() => rmSync(temporary, { recursive: true, force: true, maxRetries: 3 }));

  it.each(readdirSync(proofs).filter((name) => name.endsWith('.mjs') && !SHARED.includes(name)))('%s', async (name) => {
    const options = { cwd: consumer, maxBuffer: 64 * 1024 * 1024, timeout: 900_000 };
    await promisify(execFile)(process.execPath, [join('proofs', name)], options).catch(({ stdout, stderr }) => {
      throw new Error(`${stdout}${stderr}`);
    });
  });
});
