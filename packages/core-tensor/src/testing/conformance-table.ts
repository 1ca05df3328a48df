import { conformanceCases } from './cases.js';
import { generalChecks } from './contract.js';
import { donationChecks } from './donation-checks.js';
import { byOp, type EngineReport, knownValueChecks, testNames } from './test-engine.js';

/** Passed and all; null where there is nothing to check. */
export type Score = readonly [passed: number, all: number] | null;

/** A report as plain data, to be kept in a file. */
export interface ConformanceSummary {
  readonly engine: string;
  /** Operation → what passed of its cases. The last two are the known values and the contract of engines. */
  readonly operations: Readonly<Record<string, { readonly forward: Score; readonly gradient: Score }>>;
  /** Tests that were not run → why. */
  readonly skipped: Readonly<Record<string, string>>;
}

/** What passed, counted by operation. */
export function summarizeConformance({ name, results, skipped }: EngineReport): ConformanceSummary {
  const score = (names: readonly string[]): Score =>
    names.length === 0 ? null : [names.filter((test) => results.get(test) === true).length, names.length];
  const operations = Object.fromEntries(
    [...byOp(conformanceCases())].map(([op, cases]) => {
      const forward = cases.map((one) => testNames(one).forward);
      const gradient = cases.filter((one) => one.variables.length > 0).map((one) => testNames(one).gradient);
      return [op, { forward: score(forward), gradient: score(gradient) }];
    }),
  );
  const forwardOf = (checks: readonly { readonly name: string }[]) => ({
    forward: score(checks.map((check) => check.name)),
    gradient: null,
  });
  return {
    engine: name,
    operations: {
      ...operations,
      'known values': forwardOf(knownValueChecks()),
      'engine contract': forwardOf([...generalChecks, ...donationChecks]),
    },
    skipped,
  };
}

/** "7" where all seven passed, "5 of 7" where not, "–" where there is nothing to check. */
function show(score: Score | undefined): string {
  if (!score) return '–';
  const [passed, all] = score;
  return passed === all ? String(passed) : `${passed} of ${all}`;
}

/** A Markdown table, one row an operation, of how many cases passed on each engine: forward and gradient. */
export function conformanceTable(summaries: readonly ConformanceSummary[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const header = ['operation', ...summaries.flatMap(({ engine }) => [`${engine} forward`, `${engine} gradient`])];
  const names = [...new Set(summaries.flatMap(({ operations }) => Object.keys(operations)))];
  const rows = names.map((op) => [
    op,
    ...summaries.flatMap(({ operations }) => [show(operations[op]?.forward), show(operations[op]?.gradient)]),
  ]);
  return [header, header.map(() => '---'), ...rows].map(row).join('\n');
}
