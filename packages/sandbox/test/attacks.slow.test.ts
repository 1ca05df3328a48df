import { bubblewrap, quickjs } from '../src/index.js';
import { testAttacks } from './attacks/attack.js';
import { javascriptAttacks } from './attacks/javascript.js';
import { pythonAttacks } from './attacks/python.js';
import { whyNoBubblewrap } from './attacks/why-no-bubblewrap.js';

testAttacks(quickjs(), 'javascript', javascriptAttacks, () => undefined);

const sandbox = bubblewrap();
const reason = whyNoBubblewrap() ?? (sandbox.languages.includes('python') ? undefined : 'no python3 in /usr');
testAttacks(sandbox, 'python', pythonAttacks, () => reason);
