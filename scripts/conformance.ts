import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ConformanceSummary, conformanceTable } from '../packages/core-tensor/src/testing/conformance-table.js';
import { readJson } from './workspace.js';

/** The default engine, the oracle, then by name. */
const FIRST = ['onnxruntime', 'reference', 'webgpu'];

/** docs/conformance.md, from the file that the suite wrote for each engine. */
export function renderConformance(root: string): string {
  const folder = join(root, 'docs', 'conformance');
  const rank = ({ engine }: ConformanceSummary) => (FIRST.includes(engine) ? FIRST.indexOf(engine) : FIRST.length);
  const summaries = readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => readJson<ConformanceSummary>(join(folder, file)))
    .sort((a, b) => rank(a) - rank(b));
  const skipped = summaries.flatMap(({ engine, skipped: tests }) =>
    Object.entries(tests).map(([test, why]) => `- ${engine}, ${test}: ${why}`),
  );
  return `# Conformance

How many cases of \`conformanceCases()\` pass on each engine. Forward: equal to the reference engine. Gradient: equal to
central differences in float64. Each engine's column is a file of [conformance](conformance), which its test checks where
the engine can run: \`onnxruntime\` on the CPU, \`webgpu\` (ONNX Runtime's WebGPU provider on SwiftShader, a Vulkan driver that
computes on the CPU), \`tfjs\` on its backends, \`tfjs-node\` where a folder has it.

${conformanceTable(summaries)}

## Not run

${skipped.length === 0 ? 'Nothing.' : skipped.join('\n')}
`;
}
