import {
  custom,
  type Given,
  OptionError,
  options,
  type Sandbox,
  type SandboxProbe,
  SandboxUnavailableError,
  text,
} from '@posttrain/interfaces';
import { bubblewrap } from './bubblewrap/bubblewrap.js';
import { docker } from './docker/docker.js';
import { quickjs } from './quickjs/quickjs.js';

const sandboxNeeds = options('sandboxFor', {
  /** `javascript`, `python`, or a language of one of `sandboxes`. Default: commands. */
  language: text({ optional: true }),
  /** Sandboxes to try, in order. Default: `quickjs()`, `bubblewrap()`, `docker()`. */
  sandboxes: custom<readonly Sandbox[]>()(
    'a list of sandboxes',
    (value) => Array.isArray(value) && value.every((one) => typeof one?.probe === 'function'),
    { optional: true },
  ),
});
/** What a sandbox has to run. */
export type SandboxNeeds = Given<typeof sandboxNeeds>;

/** One of each in a process, so that each is probed once. */
let defaults: readonly Sandbox[] | undefined;

/**
 * The first sandbox that runs the language and whose probe passes on this machine.
 *
 * @throws SandboxUnavailableError that names what was tried, and what to do, where none isolates
 */
export async function sandboxFor(needs: SandboxNeeds = {}): Promise<Sandbox> {
  const { language, sandboxes } = sandboxNeeds.read(needs);
  defaults ??= [quickjs(), bubblewrap(), docker()];
  const all = sandboxes ?? defaults;
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
