// `npx tsx scripts/write-platforms.ts`, after onnxruntime-node has changed: writes the package.json of every platform's package.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { wantedPlatforms } from './platforms.js';

for (const [file, text] of wantedPlatforms().manifests) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
