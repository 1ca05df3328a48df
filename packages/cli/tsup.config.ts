import { preset } from '../../scripts/tsup-preset.js';

export default { ...preset, entry: { index: 'src/index.ts', cli: 'src/cli.ts' } };
