import {
  assertKnownOptions,
  OptionError,
  type Sandbox,
  type SandboxProbe,
  SandboxUnavailableError,
} from '@posttrain/interfaces';
import { bubblewrap } from './bubblewrap/bubblewrap.js';
import { docker } from './docker/docker.js';
import { quickjs } from './quickjs/quickjs.js';

/** What a sandbox has to run. */
export interface SandboxNeeds {
  /** `javascript`, `python`, or a language of one of `sandboxes`. Default: commands. */
  readonly language?: string;
  /** Sandboxes to try, in order. Default: `quickjs()`, `bubblewrap()`, `docker()`. */
  readonly sandboxes?: readonly Sandbox[];
}

/** One of each in a process, so that each is probed once. */
let defaults: readonly Sandbox[] | undefined;

/**
 * The first sandbox that runs the language and whose probe passes on this machine.
 *
 * @throws SandboxUnavailableError that names what was tried, and what to do, where none isolates
 */
export async function sandboxFor(needs: SandboxNeeds = {}): Promise<Sandbox> {
  assertKnownOptions('sandboxFor', needs, ['language', 'sandboxes']);
  const { language } = needs;
  defaults ??= [quickjs(), bubblewrap(), docker()];
  const all = needs.sandboxes ?? defaults;
  const able = all.filter(({ commands, languages }) =>
    language === undefined ? commands : languages.includes(language),
  );
  if (able.length === 0) {
    const known = [...new Set(all.flatMap(({ languages }) => languages))].join(', ');
    const message = `no sandbox runs ${language ?? 'commands'}; there is ${known || 'nothing'}.`;
    throw new OptionError('INVALID_OPTION', 'sandboxFor', 'language', message);
  }
  const tried: SandboxProbe[] = [];
  for (const sandbox of able) {
    const found = await sandbox.probe();
    if (found.ok) return sandbox;
    tried.push(found);
  }
  // A machine without python3, say, where bubblewrap would isolate.
  const unable = all
    .filter((sandbox) => !able.includes(sandbox))
    .map(({ languages, name }): SandboxProbe => {
      const runs = languages.join(', ') || 'commands only';
      return { sandbox: name, ok: false, checks: [{ name: 'language', held: false, detail: `it runs ${runs}` }] };
    });
  throw new SandboxUnavailableError('sandboxFor', [...tried, ...unable]);
}
