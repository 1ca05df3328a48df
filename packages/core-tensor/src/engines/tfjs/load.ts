import { EngineError } from '../../errors.js';
import { nodeModule } from '../node-module.js';
import type { Tfjs } from './tfjs.js';

/** The backends that can be loaded by name. `tfjs-node-gpu` computes on an NVIDIA card, the others on the CPU. */
export type TfjsBackend = 'tfjs-node-gpu' | 'tfjs-node' | 'wasm' | 'cpu';

export const TFJS_BACKENDS: readonly TfjsBackend[] = ['tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu'];

/** What to import for each backend, in order; the first is TensorFlow.js itself. */
const PACKAGES: Readonly<Record<TfjsBackend, Readonly<Record<string, (name: string) => Promise<unknown>>>>> = {
  'tfjs-node-gpu': { '@tensorflow/tfjs-node-gpu': (name) => import(name) },
  'tfjs-node': { '@tensorflow/tfjs-node': (name) => import(name) },
  wasm: {
    '@tensorflow/tfjs-core': () => import('@tensorflow/tfjs-core'),
    '@tensorflow/tfjs-backend-wasm': () => import('@tensorflow/tfjs-backend-wasm'),
  },
  cpu: {
    '@tensorflow/tfjs-core': () => import('@tensorflow/tfjs-core'),
    '@tensorflow/tfjs-backend-cpu': () => import('@tensorflow/tfjs-backend-cpu'),
  },
};

/** The name under which the packages register their backend. */
export const registeredName = (backend: TfjsBackend): string =>
  backend.startsWith('tfjs-node') ? 'tensorflow' : backend;

/** Imports the packages of a backend; throws `EngineError` naming them when they are not installed or do not load. */
export async function loadTfjs(backend: TfjsBackend): Promise<Tfjs> {
  if (registeredName(backend) === 'tensorflow') await restoreUtilities();
  const packages = PACKAGES[backend];
  const modules: unknown[] = [];
  for (const [name, load] of Object.entries(packages)) {
    modules.push(
      await load(name).catch((cause: Error) => {
        const isMissing = (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
        const why =
          isMissing && cause.message.includes(name) ? 'is not installed' : `did not load (${firstLine(cause)})`;
        const node = name.includes('tfjs-node') ? ', see docs/tfjs-node.md' : '';
        throw new EngineError(
          `tfjs (${backend})`,
          `the package ${name} ${why}. Install ${Object.keys(packages).join(' and ')} 4.22.0${node}; or import TensorFlow.js yourself and pass it as tf`,
          { cause },
        );
      }),
    );
  }
  const module = modules[0] as Tfjs | { readonly default: Tfjs };
  return 'engine' in module ? module : module.default;
}

const firstLine = ({ message }: Error): string => message.split('\n', 1)[0]!;

/** tfjs-node calls two functions that Node 23 removed. */
async function restoreUtilities(): Promise<void> {
  const util = await nodeModule<typeof import('node:util')>('node:util');
  const old = util as { isNullOrUndefined?: (x: unknown) => boolean; isArray?: (x: unknown) => boolean };
  old.isNullOrUndefined ??= (x) => x === null || x === undefined;
  old.isArray ??= Array.isArray;
}
