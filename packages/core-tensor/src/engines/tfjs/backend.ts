import { EngineError } from '../../errors.js';
import { loadTfjs, registeredName, TFJS_BACKENDS, type TfjsBackend } from './load.js';
import type { Tfjs } from './tfjs.js';

/** TensorFlow.js with one of its backends. The current backend is global there, so it is set before every use. */
export class Backend {
  private constructor(
    readonly tf: Tfjs,
    /** As registered with TensorFlow.js: `cpu`, `wasm`, `tensorflow`. */
    readonly name: string,
    /** `cpu`, `cuda`, `webgl`, `webgpu`. */
    readonly device: string,
  ) {}

  /** Loads what is not given, and starts the backend. */
  static async open(given: Tfjs | undefined, wanted: string | undefined): Promise<Backend> {
    const known = TFJS_BACKENDS.find((backend) => backend === (wanted ?? (given ? undefined : 'wasm')));
    if (!given && !known) {
      throw new EngineError('tfjs', `unknown backend "${wanted}"; one of ${TFJS_BACKENDS.join(', ')}, or pass tf`);
    }
    const tf = given ?? (await loadTfjs(known as TfjsBackend));
    const name = known ? registeredName(known) : (wanted ?? (await currentBackend(tf)));
    await use(tf, name);
    const { isUsingGpuDevice } = tf.backend() as { isUsingGpuDevice?: boolean };
    const device = isUsingGpuDevice ? 'cuda' : name === 'wasm' || name === 'tensorflow' ? 'cpu' : name;
    if (known === 'tfjs-node-gpu' && device !== 'cuda') {
      throw new EngineError(
        'tfjs',
        'tfjs-node-gpu found no GPU that its CUDA libraries can use; see docs/tfjs-node.md',
      );
    }
    return new Backend(tf, name, device);
  }

  /** Makes the backend the current one. It stays so at least until the caller next awaits something. */
  use(): Promise<void> {
    return use(this.tf, this.name);
  }

  error(message: string, cause?: unknown): EngineError {
    return new EngineError(`tfjs (${this.name})`, message, cause === undefined ? undefined : { cause });
  }
}

/** The backend that `tf` has, or would choose by itself. */
async function currentBackend(tf: Tfjs): Promise<string> {
  if (!tf.getBackend()) {
    await tf.ready().catch((cause: Error) => {
      throw new EngineError('tfjs', 'the tf that was passed has no backend; import one, e.g. tfjs-backend-wasm', {
        cause,
      });
    });
  }
  return tf.getBackend();
}

async function use(tf: Tfjs, name: string): Promise<void> {
  // Somebody else may have set another between the promise and here.
  while (tf.getBackend() !== name) {
    const failure = await tf.setBackend(name).then(
      (works) => (works ? undefined : new Error('it is not registered, or refused')),
      (error: Error) => error,
    );
    if (failure) {
      throw new EngineError('tfjs', `the backend "${name}" did not start: ${failure.message}`, { cause: failure });
    }
  }
}
