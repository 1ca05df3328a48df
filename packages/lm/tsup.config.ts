import { preset } from '../../scripts/tsup-preset.js';

export default preset({ testing: 'src/testing/index.ts', text: 'src/text.ts' });
