import { setEngine } from '../packages/core-tensor/src/engines/current.js';
import { onnxruntimeEngine } from '../packages/core-tensor/src/engines/onnxruntime/engine.js';

// Files of one project share a process (vitest.config.ts): each begins with a default engine of its own, whatever the one
// before it has set.
setEngine(onnxruntimeEngine());
