// GRPO whose rollouts come from servers in processes of their own: `npx tsx examples/fleet/run.ts`.
import { parseArgs } from 'node:util';
import { fleetRun } from './fleet.js';

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: '2' },
    steps: { type: 'string', default: '12' },
    staleness: { type: 'string', default: '1' },
    vllm: { type: 'string' },
    'kill-at': { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const { result } = await fleetRun({
  ...{ servers: Number(values.servers), steps: Number(values.steps), maxStaleness: Number(values.staleness) },
  python: values.vllm ?? process.env.POSTTRAIN_VLLM_PYTHON,
  ...(values['kill-at'] !== undefined && { killAt: Number(values['kill-at']) }),
});
console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, undefined, 2));
