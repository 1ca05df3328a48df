/** The nearest whole number; of two equally near, the even one. */
export function roundHalfEven(x: number): number {
  const up = Math.floor(x + 0.5);
  return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
}
