import {
  assertArgument,
  custom,
  integer,
  OptionError,
  options,
  type Read,
  type SandboxJob,
  type SandboxLimits,
  text,
} from '@posttrain/interfaces';

/** The limits of a job that does not say other ones. */
const limitOptions = options('limits', {
  wallMs: integer({ default: 10_000, min: 1, max: 86_400_000 }),
  cpuMs: integer({ default: 10_000, min: 1, max: 86_400_000 }),
  memoryBytes: integer({ default: 256 * 2 ** 20, min: 16 * 2 ** 20, max: 2 ** 40 }),
  processes: integer({ default: 16, min: 1, max: 10_000 }),
  outputBytes: integer({ default: 2 ** 20, min: 0, max: 2 ** 28 }),
  fileBytes: integer({ default: 16 * 2 ** 20, min: 2 ** 16, max: 2 ** 40 }),
});
export type Limits = Read<typeof limitOptions> & Required<SandboxLimits>;

/** A job whose parts have been checked and whose limits are complete. */
export interface ReadJob {
  /** Contents by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly stdin: string;
  readonly limits: Limits;
  readonly signal?: AbortSignal;
  readonly program:
    | { readonly language: string; readonly code: string }
    | { readonly command: readonly [string, ...string[]] };
}

/** Most files of a job: each is a descriptor of the sandbox while it starts. */
const MOST_FILES = 128;
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;
/** What every job may say; which of language, code and command go together is `readProgram`'s. */
const jobOptions = (where: string) =>
  options(where, {
    files: custom<NonNullable<SandboxJob['files']>>()('an object of contents by path', isObject, { default: {} }),
    stdin: text({ default: '' }),
    limits: custom<SandboxLimits>()('an object of limits', isObject, { default: {} }),
    signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
    language: text({ optional: true }),
    code: text({ optional: true }),
    command: custom<readonly string[]>()('a list of texts, the program first', isCommand, { optional: true }),
  });

/**
 * Checks a job for a sandbox that knows these languages.
 *
 * @throws OptionError for what cannot be run, and for paths that lead out of the folder
 */
export function readJob(name: string, languages: readonly string[], commands: boolean, job: SandboxJob): ReadJob {
  const where = `${name}.run`;
  const { files, stdin, limits, signal } = jobOptions(where).read(job as never);
  const complete = limitOptions.read(limits);
  const contents = new Map(Object.entries(files).map(([path, content]) => [path, readFile(where, path, content)]));
  assertArgument(where, 'files', contents.size, contents.size <= MOST_FILES, `at most ${MOST_FILES} files`);
  const bytes = [...contents.values()].reduce((sum, content) => sum + content.length, 0);
  assertArgument(where, 'files', bytes, bytes <= complete.fileBytes, `at most ${complete.fileBytes} bytes (fileBytes)`);
  return {
    files: contents,
    stdin,
    limits: complete,
    ...(signal && { signal }),
    program: readProgram(where, languages, commands, job),
  };
}

function readFile(where: string, path: string, content: unknown): Uint8Array {
  const parts = path.split('/');
  const stays = parts.every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255);
  const isPath = stays && path.length <= 1024 && !/[\0\\]/.test(path);
  assertArgument(where, 'files', path, isPath, 'paths below the folder, such as "lib/a.js"');
  if (content instanceof Uint8Array) return content;
  assertArgument(where, `files["${path}"]`, content, typeof content === 'string', 'a text or a Uint8Array');
  return Buffer.from(content as string);
}

function readProgram(
  where: string,
  languages: readonly string[],
  commands: boolean,
  job: SandboxJob,
): ReadJob['program'] {
  if ('command' in job && job.command !== undefined) {
    const { command } = job;
    assertArgument(where, 'command', command, commands, `absent: this sandbox runs ${languages.join(', ')} only`);
    assertArgument(where, 'code', 'given', !('code' in job), 'absent where there is a command');
    return { command };
  }
  if (!('language' in job)) {
    throw new OptionError('MISSING_OPTION', where, 'language', 'give language and code, or command.');
  }
  const { language, code } = job;
  assertArgument(where, 'language', language, languages.includes(language), `one of ${languages.join(', ')}`);
  assertArgument(where, 'code', code, code !== undefined, 'a text');
  return { language, code };
}

function isCommand(value: unknown): boolean {
  const isArgument = (part: unknown) => typeof part === 'string' && !part.includes('\0');
  return Array.isArray(value) && value.length > 0 && value.every(isArgument) && value[0] !== '';
}
