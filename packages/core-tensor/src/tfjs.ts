export { type TfjsEngineOptions, tfjsEngine } from './engines/tfjs/engine.js';
export type { TfjsForward, TfjsForwardContext } from './engines/tfjs/fused.js';
export type { TfjsBackend } from './engines/tfjs/load.js';
export type { Tfjs, TfjsKernelTensor } from './engines/tfjs/tfjs.js';
