import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { overRuns } from './over-optimisation.js';
import { rlhfArms } from './rlhf.js';
setEngine(onnxruntimeEngine({ threads: 1 }));
const clock = () => [performance.now()/1000, process.cpuUsage().user/1e6].map(x=>x.toFixed(1)).join(' wall, cpu ');
if (process.argv[2] === 'rlhf') {
for (const [k,v] of Object.entries(await rlhfArms(11, {steps: 40, samples: 12}))) console.log(k.padEnd(40), Object.entries(v).map(([a,b])=>`${a} ${b.toFixed(2)}`).join('  '));
} else {
for (const [k,v] of Object.entries(await overRuns(11, { steps: 40, every: 8, samples: 6 }))) console.log(k.padEnd(30), v.moments.map(m=>`${m.kl.toFixed(1)}/${m.proxy.toFixed(1)}/${m.gold.toFixed(2)}`).join('  '), v.alarms.join(','));
}
console.log(clock());
