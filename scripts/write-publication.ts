// `npx tsx scripts/write-publication.ts`: writes the addresses of scripts/publication.json into every package.json that is published.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { publicationFields, readPublication } from './publication.mjs';
import { listPackages, root } from './workspace.js';

const publication = readPublication(root);
for (const { folder } of listPackages()) {
  const file = join(folder, 'package.json');
  const text = readFileSync(file, 'utf8');
  const { repository: _, homepage: __, bugs: ___, ...rest } = JSON.parse(text) as Record<string, unknown>;
  const fields = publicationFields(publication, relative(root, folder).replaceAll('\\', '/'));
  const entries = Object.entries(rest).flatMap(([key, value]) =>
    key === 'license' ? [...Object.entries(fields), [key, value]] : [[key, value]],
  );
  const written = `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`;
  if (written !== text) writeFileSync(file, written);
}
