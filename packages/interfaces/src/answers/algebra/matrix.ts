import { type Expression, negated } from './expression.js';
import { parseExpression } from './parse-expression.js';
import { split } from './split.js';

/** Rows of cells, all of one length. */
export type Cells = readonly (readonly Expression[])[];

/** A matrix inside of a formula; the brackets around `matrix` and `array` are theirs. */
const INNER =
  /\\begin\{([pbB]matrix)\}((?:(?!\\begin|\\end)[\s\S])*)\\end\{\1\}|[[(]\s*\\begin\{(?:matrix|array)\}(?:\{[lcr|]*\})?((?:(?!\\begin|\\end)[\s\S])*)\\end\{(?:matrix|array)\}\s*[\])]/g;
const MOST_MATRICES = 8;
const MOST_PRODUCTS = 1000;
/** What stands for the i-th matrix while the formula around it is read: a private character. */
const FIRST = 0xe000;

/**
 * Sums, differences and products of matrices, with numbers and formulas as factors, whole powers up to 8 and transposes (`A^T`, `A^\top`), computed; null where the
 * text is something else or the sizes do not fit. An inverse is not computed.
 */
export function matrixFormula(text: string): Cells | null {
  if (!text.includes('\\begin')) return null;
  const matrices: (Cells | null)[] = [];
  const plain = text.replace(INNER, (_, __, one?: string, other?: string) => {
    matrices.push(cellsOf(one ?? other ?? ''));
    return String.fromCharCode(FIRST + matrices.length - 1);
  });
  if (matrices.length === 0 || matrices.length > MOST_MATRICES || matrices.some((one) => one === null)) return null;
  return plain.includes('\\begin') ? null : sum(plain, matrices as Cells[]);
}

/** The rows of what stands between `\begin` and `\end`; null where a cell is no formula. */
function cellsOf(body: string): Cells | null {
  const rows = rowsOf(body).map((row) => row.map((cell) => parseExpression(cell.trim())));
  const isWhole = rows.length > 0 && rows.every((row) => row.length === rows[0]!.length && row.every(Boolean));
  return isWhole ? (rows as Expression[][]) : null;
}

/** The cells of a matrix as they are written. */
export const rowsOf = (body: string): string[][] =>
  body
    .split('⏎')
    .map((line) => line.replace(/\\hline/g, '').trim())
    .filter((line) => line !== '')
    .map((line) => line.split('&'));

function sum(text: string, matrices: readonly Cells[]): Cells | null {
  const signs: number[] = [];
  const pieces = split(text, (at) => {
    if (!/[+-]/.test(text[at]!) || /[*/^]\s*$/.test(text.slice(0, at))) return 0;
    signs.push(text[at] === '-' ? -1 : 1);
    return 1;
  });
  const isSigned = pieces[0]!.trim() === '';
  const terms = (isSigned ? pieces.slice(1) : pieces).map((piece) => product(piece.trim(), matrices));
  if (!isSigned) signs.unshift(1);
  return terms.reduce<Cells | null>((total, term, i) => {
    if (!term || (i > 0 && !total)) return null;
    const signed = signs[i] === -1 ? map(term, negated) : term;
    return i === 0 ? signed : added(total!, signed);
  }, null);
}

const map = (cells: Cells, by: (cell: Expression) => Expression): Cells => cells.map((row) => row.map(by));

function added(a: Cells, b: Cells): Cells | null {
  if (a.length !== b.length || a[0]!.length !== b[0]!.length) return null;
  return a.map((row, i) => row.map((cell, j) => ({ kind: 'sum', terms: [cell, b[i]![j]!] })));
}

function multiplied(a: Cells, b: Cells): Cells | null {
  if (a[0]!.length !== b.length || a.length * b.length * b[0]!.length > MOST_PRODUCTS) return null;
  return a.map((row) =>
    b[0]!.map((_, j) => ({
      kind: 'sum',
      terms: row.map((cell, k): Expression => ({ kind: 'product', factors: [cell, b[k]![j]!] })),
    })),
  );
}

const FACTOR = /^([\ue000-\ue007])(?:\^(?:(\d)|\{(\d)\}|(T|\\top|\{T\}|\{\\top\})))?/;

/** Factors side by side or with a `*` between them; those that are no matrix multiply every cell. */
function product(text: string, matrices: readonly Cells[]): Cells | null {
  let result: Cells | null = null;
  const scales: Expression[] = [];
  for (let rest = text; rest !== ''; ) {
    const found = FACTOR.exec(rest);
    const inner = found ? null : group(rest);
    let factor: Cells | null;
    if (found) {
      factor = raised(matrices[found[1]!.charCodeAt(0) - FIRST]!, Number(found[2] ?? found[3] ?? 1), found[4]);
      rest = rest.slice(found[0].length);
    } else if (inner !== null && /[\ue000-\ue007]/.test(inner)) {
      factor = sum(inner, matrices);
      rest = rest.slice(inner.length + 2);
    } else {
      const end = rest.search(/\(?[^()]*[\ue000-\ue007]/) > 0 ? scalarEnd(rest) : rest.search(/[\ue000-\ue007]|$/);
      const scale = parseExpression(rest.slice(0, end).trim().replace(/\*$/, '').trim());
      if (!scale || end === 0) return null;
      scales.push(scale);
      rest = rest.slice(end);
      continue;
    }
    if (!factor) return null;
    result = result ? multiplied(result, factor) : factor;
    if (!result) return null;
    rest = rest.replace(/^\s*\*?\s*/, '');
  }
  return result && scales.length > 0
    ? map(result, (cell) => ({ kind: 'product', factors: [...scales, cell] }))
    : result;
}

/** Where the bracket or the matrix begins that a scalar stands before. */
function scalarEnd(text: string): number {
  for (let i = 0; i < text.length; i++) {
    if (/[\ue000-\ue007]/.test(text[i]!)) return i;
    const inner = group(text.slice(i));
    if (inner === null) continue;
    if (/[\ue000-\ue007]/.test(inner)) return i;
    i += inner.length + 1;
  }
  return text.length;
}

/** What the round bracket holds that a text begins with. */
function group(text: string): string | null {
  if (text[0] !== '(') return null;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')' && --depth === 0) return text.slice(1, i);
  }
  return null;
}

function raised(matrix: Cells, power: number, transposed?: string): Cells | null {
  if (transposed) return matrix[0]!.map((_, j) => matrix.map((row) => row[j]!));
  if (power < 1 || power > 8) return null;
  let result: Cells | null = matrix;
  for (let i = 1; i < power && result; i++) result = multiplied(result, matrix);
  return result;
}
