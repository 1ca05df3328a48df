import { readFileSync } from 'node:fs';

/** Prints, by op type, the sum over nodes of the minimum (and median) over runs of each node's time. */
export function printProfile(path: string): void {
  const events = JSON.parse(readFileSync(path, 'utf8')) as {
    cat: string;
    name: string;
    dur: number;
    args?: { op_name?: string; output_type_shape?: unknown; input_type_shape?: { float?: number[] }[] };
  }[];
  const nodes = new Map<string, { op: string; durations: number[] }>();
  for (const event of events) {
    if (event.cat !== 'Node' || !event.name.endsWith('_kernel_time')) continue;
    const sizes = (event.args?.input_type_shape ?? []).map((s) => Object.values(s)[0]?.join('x')).join(' ');
    const op = event.args?.op_name ?? '?';
    const heavy = /MatMul|Gemm/.test(op) ? ` ${sizes}` : '';
    const node = nodes.get(event.name) ?? { op: op + heavy, durations: [] };
    node.durations.push(event.dur / 1000);
    nodes.set(event.name, node);
  }
  const byOp = new Map<string, { count: number; minimum: number; median: number }>();
  let total = 0;
  for (const { op, durations } of nodes.values()) {
    for (const key of op.includes(' ') ? [op, `ALL ${op.split(' ')[0]}`] : [op]) {
      const sum = byOp.get(key) ?? { count: 0, minimum: 0, median: 0 };
      sum.count++;
      sum.minimum += Math.min(...durations);
      sum.median += median(durations);
      byOp.set(key, sum);
    }
    total += Math.min(...durations);
  }
  console.log(`profile ${path}: sum of per-node minima ${total.toFixed(0)} ms over ${nodes.size} nodes`);
  for (const [op, { count, minimum, median: middle }] of [...byOp]
    .sort((a, c) => c[1].minimum - a[1].minimum)
    .slice(0, 45))
    console.log(
      `  ${minimum.toFixed(1).padStart(8)} ms min ${middle.toFixed(1).padStart(8)} ms median ${String(count).padStart(4)} ${op}`,
    );
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, c) => a - c);
  return sorted[Math.floor(sorted.length / 2)]!;
}
