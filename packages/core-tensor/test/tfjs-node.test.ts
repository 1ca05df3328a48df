import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { testEngine } from '../src/testing/index.js';
import { type Tfjs, tfjsEngine } from '../src/tfjs.js';
import { checkConformanceFile } from './conformance-file.js';

/** A folder where `@tensorflow/tfjs-node` is installed and works: docs/tfjs-node.md. */
const folder = process.env.TFJS_NODE_FOLDER;

if (folder) {
  const create = () => tfjsEngine({ tf: createRequire(join(folder, 'package.json'))('@tensorflow/tfjs-node') as Tfjs });
  checkConformanceFile(testEngine({ name: 'tfjs-node', create, runner: { describe, it } }));
} else {
  it('the conformance suite on tfjs-node', (context) => {
    context.skip('TFJS_NODE_FOLDER names no folder with @tensorflow/tfjs-node (docs/tfjs-node.md)');
  });
}
