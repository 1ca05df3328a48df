/**
 * Reward hacking of best-of-N: `npx tsx examples/test-time/run-hacking.ts [--seeds 1,2,3] [--problems 20] [--ns 1,4,16,64,256]
 * [--out FOLDER]`. See README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type MeanEstimate, renderTable } from '@posttrain/eval';
import { hackingStudy } from './hacking.js';

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    problems: { type: 'string', default: '20' },
    ns: { type: 'string', default: '1,4,16,64,256' },
    out: { type: 'string', default: 'runs/test-time' },
  },
});
const numbers = (name: 'seeds' | 'ns') => flags[name].split(',').map(Number);
const study = await hackingStudy({ seeds: numbers('seeds'), ns: numbers('ns'), problems: Number(flags.problems) });
const measured = ({ value, standardError }: MeanEstimate) => ({ value: value!, standardError });
console.log(
  renderTable(
    study.rows.map(({ proxyName, choice, n, proxy, gold }) => ({
      ...{ proxy: proxyName, choice, n },
      ...{ 'proxy reward': measured(proxy), 'gold reward': measured(gold) },
    })),
    { title: `${flags.problems} problems a seed, seeds ${flags.seeds}; less one sample's; ± one standard error` },
  ),
);
for (const [name, { alpha, beta, peak }] of Object.entries(study.laws)) {
  const top = peak ? `highest at KL ${peak.kl.toFixed(2)} nats` : 'never falls';
  console.log(`${name}: gold = d (${alpha.toFixed(3)} − ${beta.toFixed(3)} d), d = √KL; ${top}`);
}
mkdirSync(flags.out, { recursive: true });
const rounded = (_: string, x: unknown) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x);
writeFileSync(join(flags.out, 'hacking.json'), `${JSON.stringify(JSON.parse(JSON.stringify(study, rounded)))}\n`);
