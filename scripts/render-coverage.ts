// `npm run coverage`: checks docs/coverage.json and writes it and docs/coverage.md in their canonical form.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Coverage, checkCoverage, renderJson, renderMarkdown } from './coverage.js';
import { readJson, root } from './workspace.js';

const file = join(root, 'docs', 'coverage.json');
const coverage = readJson<Coverage>(file);
const problems = await checkCoverage(root, coverage);
for (const problem of problems) console.error(`problem: ${problem}`);
if (problems.length > 0) process.exit(1);
writeFileSync(file, renderJson(coverage));
writeFileSync(join(root, 'docs', 'coverage.md'), renderMarkdown(coverage));
console.log(`docs/coverage.md: ${coverage.methods.length} methods`);
