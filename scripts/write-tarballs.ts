// `npm run pack [-- --out FOLDER]`: builds the packages and writes the tarballs that would be published into a folder
// (`tarballs`), those for other platforms into `other-platforms` below it: `npm install FOLDER/*.tgz` works.
import { statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { packAll, packPlatform } from './pack.js';
import { kernelsName, PLATFORMS, packageName } from './platforms.js';
import { pnpm, run } from './setup.mjs';

const { values } = parseArgs({ options: { out: { type: 'string', default: 'tarballs' } } });
// npm runs this in the root, wherever it was called.
const folder = resolve(process.env.INIT_CWD ?? '.', values.out);
const status = run([...pnpm(), 'exec', 'turbo', 'run', 'build', '--output-logs=errors-only', '--ui=stream']);
if (status !== 0) process.exit(status);
const platforms = PLATFORMS.flatMap((platform) => {
  const isHere = platform.os === process.platform && platform.cpu === process.arch;
  const into = isHere ? folder : join(folder, 'other-platforms');
  return [packageName, kernelsName].map((nameOf) => packPlatform(nameOf(platform), into, 9));
});
for (const { file } of [...packAll(folder), ...platforms]) {
  console.log(`${relative('.', file)}: ${(statSync(file).size / 1e6).toFixed(1)} MB`);
}
