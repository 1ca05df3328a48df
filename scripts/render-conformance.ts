// Renders docs/conformance.md from docs/conformance/*.json.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderConformance } from './conformance.js';
import { root } from './workspace.js';

writeFileSync(join(root, 'docs', 'conformance.md'), renderConformance(root));
