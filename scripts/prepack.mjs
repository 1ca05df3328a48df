// The `prepack` script of every package: only pnpm makes a tarball that works. npm and yarn would leave `exports` pointing at
// `src` (they do not know `publishConfig.exports`) and ranges pointing into the workspace.
import { copyFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

if (!process.env.npm_config_user_agent?.startsWith('pnpm/')) {
  console.error(
    'Only pnpm packs this package right. Run `npm run pack` in the root of the repository: it builds all packages and ' +
      'writes their tarballs into the folder `tarballs`. (`npx changeset publish` publishes with pnpm.)',
  );
  process.exit(1);
}
// The licence comes along by itself, NOTICE does not.
if (basename(dirname(process.cwd())) === 'packages')
  copyFileSync(join(dirname(dirname(fileURLToPath(import.meta.url))), 'NOTICE'), 'NOTICE');
