// `npm run check:structure`: what every package must have, who may depend on whom, what no file may contain, how large it all may be.
import { checkBudgets, readBudgets } from './budgets.js';
import { checkPlatforms } from './platforms.js';
import { checkReading } from './reading.js';
import { checkChangesets, checkDependencies, checkImportCircles, checkPackage, checkTrackedText } from './structure.js';
import { listPackages, root } from './workspace.js';

const packages = listPackages();
const findings = packages.map((entry) => checkPackage(root, entry));
const text = checkTrackedText(root);
const problems = [
  ...findings.flatMap((found) => found.problems),
  ...packages.flatMap((entry) => checkImportCircles(root, entry)),
  ...checkDependencies(packages),
  ...checkChangesets(root, packages),
  ...checkPlatforms(),
  ...(text ?? []),
  ...(checkBudgets(root) ?? []),
  ...checkReading(root, readBudgets(root).reading),
];

for (const warning of findings.flatMap((found) => found.warnings)) console.log(`warning: ${warning}`);
if (!text) console.log('warning: not a git checkout, so the text and the sizes of tracked files were not checked');
for (const problem of problems) console.error(`problem: ${problem}`);
console.log(`${packages.length} packages, ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
