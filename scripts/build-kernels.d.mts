export const native: string;
export const library: string;
export function libraryName(platform: string, arch: string): string;
export function compileKernels(compiler: readonly string[], output: string, program?: string): string | undefined;
export function buildKernels(): string;
