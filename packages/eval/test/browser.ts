import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A Chromium on this machine: `CHROMIUM_PATH`, else the usual names on the search path; `undefined` when there is none. */
export function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const folders = ['/usr/bin', ...(process.env.PATH ?? '').split(delimiter)];
  const candidates = folders.flatMap((folder) => names.map((name) => join(folder, name)));
  return [process.env.CHROMIUM_PATH, ...candidates].find(
    (file) => file !== undefined && file !== '' && existsSync(file),
  );
}
