import { type Sandbox, type SandboxProbe, SandboxUnavailableError } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { docker, quickjs, type SandboxNeeds, sandboxFor } from '../src/index.js';
import { testSandbox } from '../src/testing/index.js';
import { runPlain } from './plain.js';

/** A sandbox whose probe says so. */
function fake(name: string, language: string, ok: boolean, asked: string[] = []): Sandbox {
  const checks = [{ name: 'canaries', held: ok, detail: ok ? 'nothing was reached' : 'the secret was read' }];
  const found: SandboxProbe = { sandbox: name, ok, checks, remedy: `Mend ${name}.` };
  const probe = async () => {
    asked.push(name);
    return found;
  };
  return { name, languages: [language], commands: false, probe, run: () => Promise.reject(new Error('not here')) };
}

describe('sandboxFor', () => {
  it('takes the first whose probe passes, and asks no further', async () => {
    const asked: string[] = [];
    const sandboxes = [
      fake('a', 'python', false, asked),
      fake('b', 'lua', true, asked),
      fake('c', 'python', true, asked),
      fake('d', 'python', true, asked),
    ];
    expect((await sandboxFor({ language: 'python', sandboxes })).name).toBe('c');
    expect(asked).toEqual(['a', 'c']);
  });

  it('names what was tried and what to do where none isolates', async () => {
    const sandboxes = [fake('a', 'python', false), fake('c', 'lua', true), fake('b', 'python', false)];
    const error = await sandboxFor({ language: 'python', sandboxes }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SandboxUnavailableError);
    expect(error).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message:
        'sandboxFor: no isolation here. a: canaries (the secret was read). Mend a. b: canaries (the secret was read). Mend b. c: language (it runs lua).',
      tried: [{ sandbox: 'a' }, { sandbox: 'b' }, { sandbox: 'c' }],
    });
  });

  it.each([
    [{ language: 'cobol' }, /no sandbox runs cobol; there is javascript, python/],
    [{ sandboxes: [quickjs()] }, /no sandbox runs commands/],
    [{ langauge: 'python' }, /Did you mean "language"/],
  ])('refuses %o', async (needs, message) => {
    await expect(sandboxFor(needs as SandboxNeeds)).rejects.toThrow(message);
  });

  it('has QuickJS for JavaScript everywhere, and the same one each time', async () => {
    const found = await sandboxFor({ language: 'javascript' });
    expect(found.name).toBe('quickjs');
    expect(await sandboxFor({ language: 'javascript' })).toBe(found);
  });
});

describe('the kit', () => {
  /** The checks of the kit that fail. */
  async function failures(sandbox: Sandbox): Promise<string[]> {
    const checks: [string, () => Promise<void>][] = [];
    testSandbox((name, body) => checks.push([name, body]), sandbox);
    const failed: string[] = [];
    for (const [name, body] of checks) await body().catch(() => failed.push(name));
    return failed;
  }

  it('finds a child without a sandbox wanting', async () => {
    const leaky: Sandbox = {
      ...fake('bare', 'javascript', true),
      run: (job) => {
        // What would hurt the machine is not run: it counts as failed all the same.
        const code = 'code' in job ? job.code : '';
        if (/for \(;;\)|Uint8Array/.test(code)) return Promise.reject(new Error('left out'));
        return runPlain('javascript', code);
      },
    };
    const failed = await failures(leaky);
    for (const what of [
      'refuses jobs',
      'reaches nothing outside',
      'ends what never ends',
      'no more memory',
      'ends with its signal',
    ]) {
      expect(failed.join('\n')).toContain(what);
    }
    expect(failed.join('\n')).not.toContain('tells of a program that fails');
  });
});

describe('docker', () => {
  it.each(['no-such-docker', '/no/such/docker'])('is refused by name where there is no client: %s', async (path) => {
    await expect(docker({ path }).run({ command: ['ls'] })).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/docker: start \(.*there is no program.*pull/),
    });
  });

  it('is refused by name where there is no daemon', async () => {
    const before = process.env.DOCKER_HOST;
    process.env.DOCKER_HOST = 'unix:///no/such/socket';
    try {
      await expect(docker().run({ command: ['ls'] })).rejects.toThrow(/docker: start/);
    } finally {
      if (before === undefined) delete process.env.DOCKER_HOST;
      else process.env.DOCKER_HOST = before;
    }
  });
});
