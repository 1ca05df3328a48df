/** `[2, 3]`: a shape as messages write it. */
export const showShape = (shape: readonly number[]): string => `[${shape.join(', ')}]`;
