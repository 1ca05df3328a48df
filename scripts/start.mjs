// `npm start`: sets up, then runs the main job (examples/main-job).
import { join } from 'node:path';
import { buildKernels } from './build-kernels.mjs';
import { root, run, setup, tool } from './setup.mjs';

await setup();
// What only says how it is called computes nothing.
if (!process.argv.includes('--help')) buildKernels();
const recipe = join(root, 'examples', 'main-job', 'run.ts');
process.exit(run([...tool('tsx'), recipe, ...process.argv.slice(2)], { stdio: 'inherit' }));
