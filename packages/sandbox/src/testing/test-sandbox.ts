import assert from 'node:assert/strict';
import { isPosttrainError, type Sandbox, type SandboxJob } from '@posttrain/interfaces';
import { makeCanaries } from '../canaries.js';
import { PROGRAMS, type Programs } from './programs.js';

/** How a sandbox is tested. */
export interface TestSandboxOptions {
  /** Languages to test in. Default: those of the sandbox that the kit speaks, `javascript` and `python`. */
  readonly languages?: readonly string[];
}

const ENVIRONMENT_CANARY = 'SANDBOX_KIT_CANARY';

/**
 * Registers the checks that every sandbox must pass, with the test function of any framework:
 * `testSandbox(it, mySandbox)`. Each makes things outside to be attacked, and takes them away again. Where the machine
 * does not isolate they fail, as `run` does: skip them there, by what `probe()` says.
 */
export function testSandbox(
  it: (name: string, body: () => Promise<void>) => void,
  sandbox: Sandbox,
  options: TestSandboxOptions = {},
): void {
  const { languages = sandbox.languages.filter((language) => language in PROGRAMS) } = options;
  const check = (name: string, body: () => Promise<void>) => it(`${sandbox.name} ${name}`, body);

  check('passes its own probe, which says what it tried', async () => {
    const { checks, ok } = await sandbox.probe();
    assert.ok(checks.length > 0, 'the probe names no check');
    assert.deepEqual(
      checks.filter(({ held }) => !held),
      [],
    );
    assert.ok(ok);
  });

  check('refuses jobs that cannot be meant, before it runs them', async () => {
    const language = sandbox.languages[0] ?? 'python';
    const code = '';
    const wrong: unknown[] = [
      {},
      { language: 'klingon', code },
      { language, code: 7 },
      { language, code, limits: { wallMs: 0 } },
      { language, code, limits: { wallMS: 1000 } },
      { language, code, file: {} },
      ...['../out', '/out', 'a/../../out', 'a//b', '', '.', 'a\0b'].map((path) => ({
        language,
        code,
        files: { [path]: '' },
      })),
      ...(sandbox.commands ? [{ command: [] }, { command: 'ls' }] : [{ command: ['ls'] }]),
    ];
    for (const job of wrong) {
      await assert.rejects(sandbox.run(job as SandboxJob), isPosttrainError, `it took ${JSON.stringify(job)}`);
    }
  });

  for (const language of languages) {
    const programs = PROGRAMS[language];
    assert.ok(programs, `testSandbox has no programs in ${language}; it has ${Object.keys(PROGRAMS).join(', ')}`);
    testLanguage((name, body) => check(`in ${language} ${name}`, body), sandbox, language, programs);
  }
}

function testLanguage(
  check: (name: string, body: () => Promise<void>) => void,
  sandbox: Sandbox,
  language: string,
  programs: Programs,
): void {
  const run = (code: string, more: Omit<SandboxJob, 'language' | 'code' | 'command'> = {}) =>
    sandbox.run({ language, code, ...more });

  check('carries input, output and errors', async () => {
    const result = await run(programs.speaks, { stdin: 'line\nmore\n' });
    const { exitCode, stderr, stdout, stderrTruncated, stdoutTruncated, stoppedBy } = result;
    assert.deepEqual(
      { exitCode, stoppedBy, stdout: stdout.trim() },
      { exitCode: 0, stoppedBy: null, stdout: 'out\nin: line' },
    );
    assert.equal(stderr.trim(), 'err');
    assert.ok(!stdoutTruncated && !stderrTruncated && result.wallMs > 0);
  });

  check('has the files of the job', async () => {
    const { stdout } = await run(programs.readsFile, { files: { 'lib/part.txt': 'of the job é', empty: '' } });
    assert.equal(stdout.trim(), 'of the job é');
  });

  check('tells of a program that fails', async () => {
    const { exitCode, stderr, stoppedBy } = await run(programs.fails);
    assert.ok(exitCode !== 0 && exitCode !== null, `exit code ${exitCode}`);
    assert.equal(stoppedBy, null);
    assert.match(stderr, /on purpose/);
  });

  check('ends what never ends', async () => {
    const { exitCode, stoppedBy } = await run(programs.neverEnds, { limits: { wallMs: 1500 } });
    assert.ok(stoppedBy === 'wall-time' || stoppedBy === 'cpu-time', `stopped by ${stoppedBy}`);
    assert.equal(exitCode, null);
  });

  check('keeps no more output than it may', async () => {
    const { stdout, stdoutTruncated, stoppedBy } = await run(programs.floods, { limits: { outputBytes: 1000 } });
    assert.equal(stoppedBy, 'output');
    assert.ok(stdoutTruncated && stdout.length === 1000, `kept ${stdout.length} bytes`);
  });

  check('gives no more memory than it may', async () => {
    const result = await run(programs.takesMemory, { limits: { memoryBytes: 128 * 2 ** 20, wallMs: 30_000 } });
    assert.ok(!result.stdout.includes('had'), 'the program had 1 GiB');
    assert.ok(result.exitCode !== 0, 'the program does not know');
  });

  check('reaches nothing outside', async () => {
    const canaries = await makeCanaries();
    process.env[ENVIRONMENT_CANARY] = canaries.secret;
    try {
      const { stderr, stdout } = await run(programs.attack(canaries));
      assert.deepEqual(await canaries.reached(stdout + stderr), []);
    } finally {
      delete process.env[ENVIRONMENT_CANARY];
      await canaries.close();
    }
  });

  check('keeps jobs apart', async () => {
    const first = await run(programs.leavesTraces);
    assert.equal(first.stdout.trim(), 'nothing');
    const rest = await Promise.all([run(programs.leavesTraces), run(programs.leavesTraces)]);
    for (const { stdout } of rest) assert.equal(stdout.trim(), 'nothing');
  });

  check('ends with its signal', async () => {
    const reason = new Error('enough');
    await assert.rejects(run(programs.fails, { signal: AbortSignal.abort(reason) }), reason);
    const controller = new AbortController();
    const running = run(programs.neverEnds, { limits: { wallMs: 60_000, cpuMs: 60_000 }, signal: controller.signal });
    setTimeout(() => controller.abort(reason), 300);
    await assert.rejects(running, reason);
  });
}
