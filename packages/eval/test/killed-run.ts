import { evaluate } from '../src/index.js';
import { noisyAdder, sumRows, sumTask } from './models.js';

// Evaluates into the log named by the first argument and kills itself, without notice, in the call numbered by the second.
const [log, fatalCall] = [process.argv[2]!, Number(process.argv[3])];
const adder = noisyAdder(0.4);
let calls = 0;
await evaluate(
  sumTask(sumRows(40)),
  {
    name: adder.name,
    generate: (requests) => {
      if (++calls === fatalCall) process.kill(process.pid, 'SIGKILL');
      return adder.generate(requests);
    },
  },
  { log, batchSize: 4, seed: 3 },
);
