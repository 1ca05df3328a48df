export function gcdOf(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y > 0) [x, y] = [y, x % y];
  return x;
}

export function isPrime(value: number): boolean {
  if (value < 2) return false;
  for (let i = 2; i * i <= value; i++) if (value % i === 0) return false;
  return true;
}

/** Prime factors, rising, each as often as it divides. */
export function primeFactors(value: number): number[] {
  const factors: number[] = [];
  let left = value;
  for (let i = 2; i * i <= left; i++) {
    for (; left % i === 0; left /= i) factors.push(i);
  }
  return left > 1 ? [...factors, left] : factors;
}
