// `npm run coverage`: checks docs/coverage.json and writes it, docs/coverage.md and docs/eval/paradigms.md in their canonical form.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Coverage, checkCoverage, renderJson, renderMarkdown } from './coverage.js';
import { checkParadigms, readTaxonomies, renderParadigms } from './paradigms.js';
import { readJson, root } from './workspace.js';

const file = join(root, 'docs', 'coverage.json');
const coverage = readJson<Coverage>(file);
const taxonomies = readTaxonomies(root);
const problems = [...(await checkCoverage(root, coverage)), ...checkParadigms(coverage, taxonomies)];
for (const problem of problems) console.error(`problem: ${problem}`);
if (problems.length > 0) process.exit(1);
writeFileSync(file, renderJson(coverage));
writeFileSync(join(root, 'docs', 'coverage.md'), renderMarkdown(coverage));
writeFileSync(join(root, 'docs', 'eval', 'paradigms.md'), renderParadigms(coverage, taxonomies));
console.log(`docs/coverage.md: ${coverage.methods.length} methods`);
