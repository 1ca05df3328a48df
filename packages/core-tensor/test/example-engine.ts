import {
  type Engine,
  type EngineBuffer,
  EngineError,
  type Executable,
  referenceEngine,
  type TensorSpec,
} from '@posttrain/core-tensor';

/** A buffer of the example: what the engine below holds for it, until it is given back. */
class LentBuffer implements EngineBuffer {
  constructor(
    readonly spec: TensorSpec,
    private memory: EngineBuffer | undefined,
  ) {}

  /** What is in it. Throws when it has been given back. */
  use(): EngineBuffer {
    if (!this.memory) throw new EngineError('example', 'a buffer is used after it was freed or donated');
    return this.memory;
  }

  giveBack(): void {
    this.use();
    this.memory = undefined;
  }
}

const lent = (buffer: EngineBuffer): LentBuffer => {
  if (buffer instanceof LentBuffer) return buffer;
  throw new EngineError('example', 'got a buffer of another engine');
};

/** Computes as the reference engine does, in memory that must be given back, once and after its last use. */
export function exampleEngine(): Engine & { readonly live: number } {
  const inner = referenceEngine();
  let live = 0;
  const lend = (memory: EngineBuffer): LentBuffer => {
    live++;
    return new LentBuffer(memory.spec, memory);
  };
  return {
    name: 'example',
    device: 'cpu',
    // No fused kernels: every one is decomposed into primitives before a graph arrives here.
    kernels: new Set(),
    nativeDTypes: inner.nativeDTypes,
    upload: async (data, spec) => lend(await inner.upload(data.slice(), spec)),
    read: async (buffer) => (await inner.read(lent(buffer).use())).slice(),
    free: (buffer) => {
      lent(buffer).giveBack();
      live--;
    },
    async compile(graph, { donations }): Promise<Executable> {
      const executable = await inner.compile(graph, { donations: [] });
      return {
        async run(inputs) {
          const results = await executable.run(inputs.map((input) => lent(input).use()));
          // Donated memory belongs to the engine from here on. This one has no use for it.
          for (const { input } of donations) {
            lent(inputs[input]!).giveBack();
            live--;
          }
          return results.map(lend);
        },
        dispose: () => executable.dispose(),
      };
    },
    get live() {
      return live;
    },
  };
}
