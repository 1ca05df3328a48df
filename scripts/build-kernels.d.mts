export const library: string;
export function buildKernels(): string;
