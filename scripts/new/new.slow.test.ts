import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tool } from '../setup.mjs';
import { checkImportCircles, checkPackage, findForbiddenText } from '../structure.js';
import { listPackages, root } from '../workspace.js';
import { copyRepository } from './copy-repository.js';
import { KINDS } from './kinds.js';
import { layOut } from './lay-out.js';
import { writeChanges } from './write-changes.js';

/** A copy of the repository into which a method of every kind was laid out, one after the other. */
let copy: string;
const laidOut: string[] = [];
beforeAll(() => {
  copy = copyRepository();
  for (const kind of Object.keys(KINDS)) {
    const { changes } = layOut(kind, `laid-out-${kind}`, { repository: copy });
    writeChanges(changes);
    laidOut.push(...changes.map(({ path }) => path));
  }
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

function run([command = '', ...args]: readonly string[]): { status: number | null; output: string } {
  const { POSTTRAIN_TESTS: _, VITEST: __, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: copy, env, encoding: 'utf8' });
  return { status, output: stripVTControlCharacters(stdout + stderr) };
}

describe('a method of every kind, laid out in the repository', () => {
  it('typechecks with everything else', () => {
    const config = { extends: './tsconfig.json', include: ['packages/*/src', 'packages/*/test'] };
    writeFileSync(join(copy, 'tsconfig.packages.json'), JSON.stringify(config));
    const { status, output } = run([...tool('typescript', 'tsc'), '-p', 'tsconfig.packages.json', '--noEmit']);
    expect(output).toBe('');
    expect(status).toBe(0);
  });

  it('passes its kit, in the table of its kind', () => {
    const tables = [...new Set(Object.values(KINDS).map(({ test }) => test))];
    const { status, output } = run([...tool('vitest'), 'run', '--testNamePattern=laidOut', ...tables]);
    expect(output).toMatch(new RegExp(`Test Files +${tables.length} passed`));
    expect(Number(/Tests +(\d+) passed/.exec(output)?.[1])).toBeGreaterThan(5 * Object.keys(KINDS).length);
    expect(status).toBe(0);
  });

  it('is as Biome and the structure of packages want it', () => {
    const own = [...new Set(laidOut.filter((path) => path.endsWith('.ts')))];
    const options = ['check', '--error-on-warnings', '--vcs-enabled=false', `--config-path=${root}`];
    const { status, output } = run([...tool('@biomejs/biome', 'biome'), ...options, ...own]);
    expect(output).toContain(`Checked ${own.length} files in`);
    expect(status).toBe(0);
    for (const entry of listPackages(copy)) {
      expect(checkPackage(copy, entry).problems).toEqual([]);
      expect(checkImportCircles(copy, entry)).toEqual([]);
    }
    for (const path of laidOut) expect(findForbiddenText(readFileSync(path, 'utf8'))).toEqual([]);
  });
});
