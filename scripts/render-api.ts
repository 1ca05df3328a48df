// `npm run api`: writes docs/api.md, the public names of every package.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publicNames, renderApi, undocumented } from './api.js';
import { root } from './workspace.js';

const entries = publicNames(root);
const problems = undocumented(entries);
for (const problem of problems) console.error(`no docstring: ${problem}`);
writeFileSync(join(root, 'docs', 'api.md'), renderApi(entries));
console.log(`docs/api.md: ${entries.reduce((sum, { names }) => sum + names.length, 0)} names`);
process.exit(problems.length === 0 ? 0 : 1);
