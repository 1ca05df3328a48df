import { installDefaultEngine } from './engines/current.js';
import { onnxruntimeEngine } from './engines/onnxruntime/engine.js';

// The default engine of Node, until setEngine is called. A browser gets browser.ts in the place of this file (package.json).
installDefaultEngine(onnxruntimeEngine);

export * from './browser.js';
