// `npx tsx scripts/render-option-docs.ts`: writes the tables of docs/running.md, docs/trl-names.md, docs/peft/methods.md and
// docs/tts/options.md from the declared options.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderDescriptions, renderPeftMethods, renderRunning, renderTrlNames } from './option-docs.js';
import { renderStrategyOptions } from './strategy-docs.js';
import { root } from './workspace.js';

const running = join(root, 'docs', 'running.md');
writeFileSync(running, renderRunning(readFileSync(running, 'utf8')));
writeFileSync(join(root, 'docs', 'trl-names.md'), renderTrlNames());
mkdirSync(join(root, 'docs', 'peft'), { recursive: true });
writeFileSync(join(root, 'docs', 'peft', 'methods.md'), renderPeftMethods());
writeFileSync(join(root, 'docs', 'tts', 'options.md'), renderStrategyOptions());
writeFileSync(join(root, 'packages', 'cli', 'src', 'options', 'descriptions.ts'), renderDescriptions());
