/**
 * Packs run.ts with all it needs into one archive for a machine that has a driver and nothing else (Linux, x64).
 *
 * usage: npx tsx benchmarks/gpu/pack.ts [--output gpu.tar.xz]
 *
 * In it: the program as one file, peer.py, this Node, and the packages onnxruntime-node, koffi and webgpu without the files
 * of other systems. They are installed by npm from the registry that it is set up with; no install scripts run.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'tsup';
import { readOutput } from '../output-file.js';

const { values: flags } = parseArgs({ options: { output: { type: 'string', default: 'gpu.tar.xz' } } });
readOutput(flags.output);
const PACKAGES = { 'onnxruntime-node': '1.30.0', koffi: '3.3.4', webgpu: '0.6.2' };
const here = import.meta.dirname;
const folder = mkdtempSync(join(tmpdir(), 'posttrain-gpu-'));
const stage = join(folder, 'gpu');
mkdirSync(stage);

await build({
  entry: { run: join(here, 'run.ts') },
  outDir: stage,
  format: 'esm',
  outExtension: () => ({ js: '.mjs' }),
  noExternal: [/^@posttrain\//],
  external: Object.keys(PACKAGES),
  splitting: false,
  target: 'node20',
  config: false,
  silent: true,
});
for (const file of ['peer.py', 'README.md']) cpSync(join(here, file), join(stage, file));
cpSync(process.execPath, join(stage, 'node'));
writeFileSync(join(stage, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies: PACKAGES }));
execute('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], stage);
keepOnly('onnxruntime-node/bin/napi-v6', ['linux']);
keepOnly('onnxruntime-node/bin/napi-v6/linux', ['x64']);
keepOnly('webgpu/dist', ['linux-x64']);
keepOnly('@koromix', ['koffi-linux-x64']);
execute('tar', ['-cJf', resolve(flags.output), '-C', folder, 'gpu'], stage);
rmSync(folder, { recursive: true });
console.log(`${flags.output}: ${(statSync(flags.output).size / 2 ** 20).toFixed(1)} MiB`);

/** Of a folder of the packages, removes what begins with no name of the list. */
function keepOnly(path: string, names: readonly string[]): void {
  const all = join(stage, 'node_modules', path);
  for (const entry of readdirSync(all)) {
    if (!names.some((name) => entry.startsWith(name))) rmSync(join(all, entry), { recursive: true });
  }
}

function execute(program: string, args: readonly string[], cwd: string): void {
  const { status, error } = spawnSync(program, args, {
    cwd,
    stdio: 'inherit',
    env: { ...process.env, XZ_OPT: '-T2 -6' },
  });
  if (status !== 0) throw new Error(`${program} ${args[0]} failed${error ? `: ${error.message}` : ''}`);
}
