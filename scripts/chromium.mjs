// The browser in which tests open the HTML report. Nothing here runs unless a test run asks for it.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome.exe', 'msedge.exe'];
const places = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe',
];

/** The path of a Chromium-family browser: `CHROMIUM_PATH`, else one on PATH, else one in the usual places. */
export function findChromium() {
  if (process.env.CHROMIUM_PATH) return process.env.CHROMIUM_PATH;
  const onPath = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  return [...onPath, ...places].find((path) => existsSync(path));
}

/**
 * The browser, installed from Debian's packages when there is none and this is a CI machine where that is possible
 * (`CI` set, root, apt-get). Returns undefined otherwise: the browser tests then skip and say so.
 */
export function ensureChromium() {
  const found = findChromium();
  const mayInstall = process.env.CI && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  if (found || !mayInstall) return found;
  console.log('Installing Chromium for the browser tests (apt-get)');
  const apt = (...args) =>
    spawnSync('apt-get', ['-qq', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: 240_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0;
  const install = () => apt('install', '-y', '--no-install-recommends', 'chromium');
  if (!install() && !(apt('update') && install())) console.warn('Chromium could not be installed (above).');
  return findChromium();
}
