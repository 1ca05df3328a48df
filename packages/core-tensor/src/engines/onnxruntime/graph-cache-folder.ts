import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

/** Where lowered graphs are kept: a folder, `true` for the user's own (`graphCacheFolder`), `false` for nowhere. */
export type GraphCacheChoice = boolean | string;

/**
 * The folder that a choice means, undefined for none. Left out, the variable POSTTRAIN_CACHE says: a folder, `on` (or `1`, `true`, `yes`), or `off`
 * (or `0`, `false`, `no`, or nothing), the default. The user's own is `posttrain/graphs` in the folder for caches of the XDG specification (XDG_CACHE_HOME,
 * else ~/.cache; LOCALAPPDATA on Windows); where there is no home, there is none.
 */
export function graphCacheFolder(
  choice: GraphCacheChoice | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  home: () => string = homedir,
): string | undefined {
  const chosen = choice ?? byName(environment.POSTTRAIN_CACHE ?? 'off');
  if (typeof chosen === 'string') return resolve(chosen);
  return chosen ? ownFolder(environment, home) : undefined;
}

function byName(name: string): GraphCacheChoice {
  const word = name.toLowerCase();
  if (['', 'off', '0', 'false', 'no'].includes(word)) return false;
  return ['on', '1', 'true', 'yes'].includes(word) ? true : name;
}

function ownFolder(
  { XDG_CACHE_HOME, LOCALAPPDATA }: Readonly<Record<string, string | undefined>>,
  home: () => string,
): string | undefined {
  // The specification has relative paths ignored.
  const given = [XDG_CACHE_HOME, process.platform === 'win32' ? LOCALAPPDATA : undefined].find(
    (path) => path !== undefined && isAbsolute(path),
  );
  if (given !== undefined) return join(given, 'posttrain', 'graphs');
  try {
    const folder = home();
    return isAbsolute(folder) ? join(folder, '.cache', 'posttrain', 'graphs') : undefined;
  } catch {
    return undefined;
  }
}
