// How a proof of a training is run: killed with SIGKILL in the middle of it, resumed, and compared with a run that
// nobody killed:
// every file byte for byte, but for how long steps took (and the checksums of files that say so). A program that is
// started with the name of a proof runs that one only, to be killed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';

const [, program, fatal, fatalFolder] = process.argv;

export { it };

/** A check that is no run of a trainer. */
export const proof = (name, body) => {
  if (!fatal) it(name, () => inFolder(body));
};

/** `train({ outputFolder, saveSteps, resume, afterStep })` is a run of at least 3 steps; `check` gets what it gives. */
export const trainingProof = (name, train, check = () => {}) => {
  const killed = ({ step }) => step === 2 && process.kill(process.pid, 'SIGKILL');
  if (fatal) {
    if (fatal === name)
      it(name, () => train({ outputFolder: fatalFolder, saveSteps: 1, resume: true, afterStep: killed }));
    return;
  }
  it(`${name}: killed and resumed, it is the same run`, () =>
    inFolder(async (folder) => {
      const [one, other] = [join(folder, 'killed'), join(folder, 'whole')];
      const { signal, stdout } = spawnSync(process.execPath, [program, name, one], { encoding: 'utf8' });
      assert.equal(signal, 'SIGKILL', stdout);
      const interrupted = filesIn(one);
      await train({ outputFolder: one, saveSteps: 1, resume: true });
      const result = await train({ outputFolder: other, saveSteps: 1, resume: true });
      const files = filesIn(other);
      assert.ok(interrupted.size > 0 && interrupted.size < files.size, 'it was killed in the middle');
      assert.deepEqual([...filesIn(one).keys()], [...files.keys()]);
      for (const [path, bytes] of filesIn(one)) assert.ok(bytes.equals(files.get(path)), `${path} differs`);
      await check(result);
    }));
};

const filesIn = (folder) =>
  new Map(
    readdirSync(folder, { recursive: true })
      .sort()
      .filter((path) => statSync(join(folder, path)).isFile() && !path.endsWith('checksums.json'))
      .map((path) => [path, withoutTimes(path, readFileSync(join(folder, path)))]),
  );

const withoutTimes = (path, bytes) =>
  /\.jsonl?$/.test(path) ? Buffer.from(bytes.toString().replace(/"step_time": ?[\d.e-]+/g, '')) : bytes;

async function inFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-proof-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
