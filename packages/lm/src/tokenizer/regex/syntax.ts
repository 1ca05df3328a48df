import { PosttrainError } from '@posttrain/interfaces';
import type { CodePointSet } from '../unicode/code-point-set.js';

export type Edge = 'lineStart' | 'lineEnd' | 'textStart' | 'textEnd' | 'lastLineEnd' | 'wordEdge' | 'noWordEdge';

/** A regular expression of Oniguruma, the reference implementation's engine. */
export type Node =
  | { readonly kind: 'set'; readonly set: CodePointSet }
  | { readonly kind: 'sequence'; readonly items: readonly Node[] }
  | { readonly kind: 'choice'; readonly options: readonly Node[] }
  | {
      readonly kind: 'repeat';
      readonly item: Node;
      readonly min: number;
      readonly max: number;
      readonly mode: 'greedy' | 'lazy' | 'possessive';
    }
  | { readonly kind: 'atomic'; readonly item: Node }
  | { readonly kind: 'look'; readonly behind: boolean; readonly negative: boolean; readonly item: Node }
  | { readonly kind: 'edge'; readonly edge: Edge };

/** A regular expression that is not valid, or has something that is not supported. */
export class PatternError extends PosttrainError {
  constructor(pattern: string, problem: string) {
    const text = pattern.length > 100 ? `${pattern.slice(0, 100)}…` : pattern;
    super('TOKENIZER_PATTERN', `the regular expression ${JSON.stringify(text)} ${problem}`);
  }
}

/** Fewest and most characters that a match has. */
export function lengths(node: Node): readonly [min: number, max: number] {
  switch (node.kind) {
    case 'set':
      return [1, 1];
    case 'sequence':
      return node.items.map(lengths).reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
    case 'choice': {
      const all = node.options.map(lengths);
      return [Math.min(...all.map(([min]) => min)), Math.max(...all.map(([, max]) => max))];
    }
    case 'repeat': {
      const [min, max] = lengths(node.item);
      return [min * node.min, max === 0 || node.max === 0 ? 0 : max * node.max];
    }
    case 'atomic':
      return lengths(node.item);
    default:
      return [0, 0];
  }
}
