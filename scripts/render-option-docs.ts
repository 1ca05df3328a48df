// `npx tsx scripts/render-option-docs.ts`: writes the tables of docs/running.md, and docs/trl-names.md, from the declared options.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderRunning, renderTrlNames } from './option-docs.js';
import { root } from './workspace.js';

const running = join(root, 'docs', 'running.md');
writeFileSync(running, renderRunning(readFileSync(running, 'utf8')));
writeFileSync(join(root, 'docs', 'trl-names.md'), renderTrlNames());
