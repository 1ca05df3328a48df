import { conformanceCases } from './cases.js';
import { generalChecks } from './contract.js';
import { donationChecks } from './donation-checks.js';
import { byOp, type EngineReport, knownValueChecks, testNames } from './test-engine.js';

/** "7" where all seven passed, "5 of 7" where not, "–" where there is nothing to check. */
function score(names: readonly string[], { results }: EngineReport): string {
  if (names.length === 0) return '–';
  const passed = names.filter((name) => results.get(name) === true).length;
  return passed === names.length ? String(passed) : `${passed} of ${names.length}`;
}

/** A Markdown table, one row an operation, of how many cases passed on each engine: forward and gradient. */
export function conformanceTable(reports: readonly EngineReport[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const header = ['operation', ...reports.flatMap(({ name }) => [`${name} forward`, `${name} gradient`])];
  const rows = [...byOp(conformanceCases())].map(([op, cases]) => {
    const forward = cases.map((one) => testNames(one).forward);
    const gradient = cases.filter((one) => one.variables.length > 0).map((one) => testNames(one).gradient);
    return [op, ...reports.flatMap((report) => [score(forward, report), score(gradient, report)])];
  });
  const values = knownValueChecks().map(({ name }) => name);
  rows.push(['known values', ...reports.flatMap((report) => [score(values, report), '–'])]);
  const contract = [...generalChecks, ...donationChecks].map(({ name }) => name);
  rows.push(['engine contract', ...reports.flatMap((report) => [score(contract, report), '–'])]);
  return [header, header.map(() => '---'), ...rows].map(row).join('\n');
}
