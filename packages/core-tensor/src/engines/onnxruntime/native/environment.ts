import { loadOnnxruntime, type OrtApi, type Pointer } from './library.js';

const LOG_ERRORS = 3;
const ARENA_ALLOCATOR = 1;
const DEFAULT_MEMORY = 0;
/** In doubling regions, inside which free pieces are joined: 0.3 GB less for a full step at 135M than exact ones. */
const EXTEND_BY_DOUBLING = 0;
const LIBRARY_DEFAULT = -1;

/** What all sessions of this process share. */
export interface OrtEnvironment {
  readonly api: OrtApi;
  readonly env: Pointer;
  /** Describes host memory. */
  readonly hostMemory: Pointer;
}

let shared: Promise<OrtEnvironment> | undefined;

/** One work memory for all sessions: what training used is there for generation, already touched. */
export function onnxruntimeEnvironment(): Promise<OrtEnvironment> {
  shared ??= loadOnnxruntime().then((api) => {
    const env = api.make('createEnv', LOG_ERRORS, 'posttrain');
    const hostMemory = api.make('createCpuMemoryInfo', ARENA_ALLOCATOR, DEFAULT_MEMORY);
    const arena = api.make('createArenaCfg', 0, EXTEND_BY_DOUBLING, LIBRARY_DEFAULT, LIBRARY_DEFAULT);
    api.createAndRegisterAllocator(env, hostMemory, arena);
    api.releaseArenaCfg(arena);
    return { api, env, hostMemory };
  });
  return shared;
}
