/** A polynomial by its coefficients, that of the highest power first, as `-896*x**5 + 2240*x**4`. */
export function polynomialText(coefficients: readonly number[]): string {
  const degree = coefficients.length - 1;
  const terms = coefficients.flatMap((coefficient, i) => {
    if (coefficient === 0) return [];
    const power = degree - i;
    const variable = power === 0 ? '' : power === 1 ? 'x' : `x**${power}`;
    const size = Math.abs(coefficient);
    const text = variable === '' ? String(size) : size === 1 ? variable : `${size}*${variable}`;
    return [{ sign: coefficient < 0 ? '-' : '+', text }];
  });
  if (terms.length === 0) return '0';
  return terms.map(({ sign, text }, i) => (i === 0 ? (sign === '-' ? `-${text}` : text) : ` ${sign} ${text}`)).join('');
}

/** The coefficients of a sum of monomials in x, in any order, that of the highest power first; `null` where it is none. */
export function polynomialOf(text: string): number[] | null {
  const plain = text.replaceAll(/\s+/g, '').replaceAll('^', '**');
  const terms = plain.match(/[-+]?[^-+]+/g) ?? [];
  if (plain === '' || terms.join('') !== plain) return null;
  const found = new Map<number, number>();
  for (const term of terms) {
    const [whole, sign, size, times, variable, power] =
      /^([-+]?)(\d{1,15})?(\*?)(x(?:\*\*(\d{1,2}))?)?$/.exec(term) ?? [];
    const isTerm = whole !== undefined && (size !== undefined || variable !== undefined);
    if (!isTerm || (times === '*' && (size === undefined || variable === undefined))) return null;
    const exponent = variable === undefined ? 0 : Number(power ?? 1);
    const value = Number(size ?? 1) * (sign === '-' ? -1 : 1);
    found.set(exponent, (found.get(exponent) ?? 0) + value);
  }
  const degree = Math.max(0, ...[...found].filter(([, value]) => value !== 0).map(([exponent]) => exponent));
  return Array.from({ length: degree + 1 }, (_, i) => found.get(degree - i) ?? 0);
}

/** Whether a text is the polynomial, its terms in any order. */
export const isPolynomial = (answer: string, coefficients: readonly number[]): boolean =>
  polynomialText(polynomialOf(answer) ?? [Number.NaN]) === polynomialText(coefficients);
