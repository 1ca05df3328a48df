// `npm start`: sets up, then runs the main job (examples/main-job).
import { join } from 'node:path';
import { bin, root, run, setup } from './setup.mjs';

setup();
run(bin('tsx'), [join(root, 'examples', 'main-job', 'run.ts'), ...process.argv.slice(2)]);
