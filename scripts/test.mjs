// `npm test`: sets up, then runs every check and every test.
import { bin, run, setup } from './setup.mjs';

setup();
run(bin('tsc'), ['-p', 'tsconfig.json', '--noEmit']);
run(bin('biome'), ['check', '.']);
run(bin('vitest'), ['run', ...process.argv.slice(2)]);
