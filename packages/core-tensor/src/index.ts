import { installDefaultEngine } from './engines/current.js';
import { onnxruntimeEngine } from './engines/onnxruntime/engine.js';

// In Node, what computes without a word about engines computes on ONNX Runtime. Browsers take browser.ts in this file's place.
installDefaultEngine(onnxruntimeEngine);

export * from './browser.js';
