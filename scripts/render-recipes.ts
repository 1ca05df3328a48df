// `npx tsx scripts/render-recipes.ts`: writes examples/README.md and its pictures.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { renderRecipes } from './recipes.js';
import { root } from './workspace.js';

for (const [path, text] of renderRecipes(root)) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  console.log(path);
}
