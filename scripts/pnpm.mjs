// `npm run pnpm -- install`: the pinned pnpm, whether or not the machine has one.
import { pnpm, run } from './setup.mjs';

process.exit(run([...pnpm(), ...process.argv.slice(2)], { stdio: 'inherit' }));
