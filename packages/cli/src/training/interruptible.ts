/** Ctrl-C, or a request to end: fires a signal first, and ends the process when it comes again. */
export function interruptible(onFirst: () => void): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const codes = { SIGINT: 130, SIGTERM: 143 } as const;
  const handlers = Object.entries(codes).map(([name, code]) => {
    const handler = () => {
      // What is written is written whole, so that nothing is lost but this step.
      if (controller.signal.aborted) process.exit(code);
      controller.abort(new Error(name));
      onFirst();
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  return {
    signal: controller.signal,
    release() {
      for (const [name, handler] of handlers) process.off(name, handler);
    },
  };
}
