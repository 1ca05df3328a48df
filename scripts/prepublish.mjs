// The `prepublishOnly` script of every package: refuses to publish what does not say where it comes from.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { missingAddresses, readPublication } from './publication.mjs';

const missing = missingAddresses(readPublication(dirname(dirname(fileURLToPath(import.meta.url)))));
if (missing.length > 0) {
  console.error(
    `Not published: scripts/publication.json has no address for ${missing.join(', ')}. Fill it in (https://…), run ` +
      '`npx tsx scripts/write-publication.ts`, commit, and publish again.',
  );
  process.exit(1);
}
